import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, sampleImage, User } from "./command.js";

describe("a short name with an alias", () => {
  let registry: TestRegistry;
  let user: User;
  let configured: string[];

  beforeAll(async () => {
    registry = await startTestRegistry();
    registry.add("org/prog:v1", sampleImage());
    user = new User();
    const path = user.path("registries.conf");
    writeFileSync(path, `[aliases]\n"prog" = "${registry.reference("org/prog")}"\n`);
    configured = ["--registries-conf", path, "--platform", "linux/amd64"];
  });

  afterAll(async () => {
    user[Symbol.dispose]();
    await registry.close();
  });

  it("is pulled from where the alias says, and cached under the whole name", async () => {
    const { stdout } = await user.bpfcache(["pull", "prog:v1", "--json", ...configured]);
    expect(json(stdout).reference).toBe(registry.reference("org/prog:v1"));
  });

  it("is prefetched from a list, and found again by the verbs that read", async () => {
    const list = user.path("list");
    writeFileSync(list, "prog:v1\n");
    const prefetched = await user.bpfcache(["prefetch", "-f", list, "--json", ...configured]);
    expect(Object.keys(json(prefetched.stdout).lock)).toEqual([registry.reference("org/prog:v1")]);
    const inspected = await user.bpfcache(["inspect", "prog:v1", "--json", ...configured]);
    expect(json(inspected.stdout).reference).toBe(registry.reference("org/prog:v1"));
  });
});
