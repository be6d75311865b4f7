import { existsSync } from "node:fs";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { generalHelp, verbHelp } from "../../src/cli/help/overview.js";
import { topics } from "../../src/cli/help/topics.js";
import { globalOptions } from "../../src/cli/settings.js";
import { verbs } from "../../src/cli/verbs.js";
import { exitStatus } from "../../src/core/errors.js";
import { policySchema } from "../../src/trust/policy-schema.js";
import { User } from "./command.js";

const printed = topics.filter(({ name }) => name !== "json-schema" && name !== "man-page");

describe("help", () => {
  it("of all names every verb and topic", async () => {
    const text = generalHelp();
    for (const { name } of verbs) expect(text).toMatch(new RegExp(`^ {2}${name}\\b`, "m"));
    for (const { name } of topics) expect(text).toContain(`bpfcache help ${name}`);
    await expect(text).toMatchFileSnapshot("snapshots/help.txt");
  });

  it.each(verbs)("of $name shows its usage, its options and an example", async (verb) => {
    const text = verbHelp(verb);
    expect(text).toMatch(new RegExp(`^Usage: bpfcache ${verb.name}\\b`, "m"));
    for (const { name } of [...verb.options, ...globalOptions]) expect(text).toContain(`--${name}`);
    expect(text).toMatch(new RegExp(`^ {2}bpfcache ${verb.name}\\b`, "m"));
    await expect(text).toMatchFileSnapshot(`snapshots/help-${verb.name.replaceAll(" ", "-")}.txt`);
  });

  it.each(printed)("on $name is as it reads best", async ({ name, load }) => {
    const { text } = await load();
    await expect(text(undefined)).toMatchFileSnapshot(`snapshots/topic-${name}.txt`);
  });

  it("on the policy has an example that is one", async () => {
    const { text } = await import("../../src/cli/help/policy.js");
    const [, example = ""] = text().split("For example:\n\n");
    expect(policySchema().safeParse(parse(example)).error).toBeUndefined();
  });

  it("is no wider than 100 columns", () => {
    const lines = [generalHelp(), ...verbs.map(verbHelp)].flatMap((text) => text.split("\n"));
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
  });

  it("on exit codes names every code with its status", async () => {
    const { text } = await import("../../src/cli/help/exit-codes.js");
    for (const [code, status] of Object.entries(exitStatus))
      expect(text()).toMatch(new RegExp(`^${status} +${code} +\\w`, "m"));
  });
});

describe("the command line", () => {
  it("has help as an option, its short form and a verb", async () => {
    using user = new User();
    const long = await user.bpfcache(["cat", "--help"]);
    expect(long).toMatchObject({ status: 0, stderr: "" });
    expect((await user.bpfcache(["cat", "-h"])).stdout).toBe(long.stdout);
    expect((await user.bpfcache(["help", "cat"])).stdout).toBe(long.stdout);
    expect((await user.bpfcache(["help"])).stdout).toBe((await user.bpfcache(["--help"])).stdout);
    // To read help makes no cache.
    expect(existsSync(user.cache)).toBe(false);
  });

  it.each([
    [["lsit"], 'there is no verb "lsit"', "Did you mean bpfcache list?"],
    [["prefech", "x"], 'there is no verb "prefech"', "Did you mean bpfcache prefetch?"],
    [["images"], 'there is no verb "images"', "Did you mean bpfcache list?"],
    [["xyzzy"], 'there is no verb "xyzzy"', "bpfcache --help lists them."],
    [["list", "--progam", "x"], "there is no option --progam", "Did you mean --program?"],
    [["list", "--ofline"], "there is no option --ofline", "Did you mean --offline?"],
    [["list", "--lock", "x"], "there is no option --lock", "It is an option of prefetch and export."],
    [["list", "--xyzzy"], "there is no option --xyzzy", "bpfcache list --help lists the options."],
    [["list", "--cache-dir"], "--cache-dir needs a value: --cache-dir DIR", undefined],
    [
      ["list", "--cache-dir", "--verbose"],
      "--cache-dir needs a value: --cache-dir DIR",
      "If --verbose is meant to be it, write --cache-dir=--verbose.",
    ],
    [["list", "--offline=yes"], "--offline takes no value", undefined],
    [["pull"], "usage: bpfcache pull REF", "bpfcache pull --help tells more."],
    [["help", "exitcodes"], 'there is no help on "exitcodes"', "Did you mean bpfcache help exit-codes?"],
    [["help", "json-schema", "lists"], 'there is no JSON document "lists"', "Did you mean list?"],
    [["config", "edit"], 'config can be shown, and not "edit"', "Write bpfcache config show."],
    [["completion", "tcsh"], 'there is no completion for "tcsh"', "There is one for bash, zsh, fish."],
  ])("%j is answered by what to do instead", async (args, message, hint) => {
    using user = new User();
    const { status, stdout, stderr } = await user.bpfcache(args);
    expect(stderr).toBe(`bpfcache: ${message} [USAGE]\n${hint === undefined ? "" : `  ${hint}\n`}`);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });
});
