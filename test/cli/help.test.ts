import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { User } from "./command.js";

const verbs = [
  "prefetch",
  "pull",
  "seed",
  "export",
  "push",
  "list",
  "inspect",
  "cat",
  "remove",
  "pin",
  "unpin",
  "prune",
  "usage",
  "compact",
  "scrub",
  "serve",
  "program load",
  "program list",
  "program get",
  "program unload",
];

describe("--help", () => {
  it("names every verb", async () => {
    using user = new User();
    const { status, stdout, stderr } = await user.bpfcache(["--help"]);
    for (const verb of verbs) expect(stdout).toMatch(new RegExp(`^ {2}${verb}\\b`, "m"));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it.each(verbs)("of %s shows its usage, its options and an example", async (verb) => {
    using user = new User();
    const { status, stdout, stderr } = await user.bpfcache([...verb.split(" "), "--help"]);
    expect(stdout).toMatch(new RegExp(`^Usage: bpfcache ${verb}\\b`, "m"));
    expect(stdout).toContain("--cache-dir DIR");
    expect(stdout).toMatch(new RegExp(`^ {2}bpfcache ${verb}\\b`, "m"));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("has the short form -h", async () => {
    using user = new User();
    expect((await user.bpfcache(["cat", "-h"])).stdout).toBe((await user.bpfcache(["cat", "--help"])).stdout);
  });

  it("makes no cache", async () => {
    using user = new User();
    await user.bpfcache(["pull", "--help"]);
    expect(() => readFileSync(`${user.cache}/data.mdb`)).toThrow();
  });
});
