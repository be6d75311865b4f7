import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytecodeImage, minimalBpfElf } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { json, lastLine, sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];
/** What begins an escape code. */
const esc = "\u001b";

let registry: TestRegistry;
let references: string[];

beforeAll(async () => {
  registry = await startTestRegistry();
  for (const name of ["one", "two", "three"]) registry.add(`org/${name}:v1`, sampleImage(name));
  references = ["one", "two", "three"].map((name) => registry.reference(`org/${name}:v1`));
});

afterAll(() => registry.close());

describe("progress", () => {
  it("is on stderr, a line per image, and the result alone on stdout", async () => {
    using user = new User();
    const { stdout, stderr } = await user.bpfcache(["prefetch", ...references, ...amd64]);
    expect(stderr.trimEnd().split("\n").sort()).toEqual(
      references.map((reference) => `cached ${reference}`).sort(),
    );
    expect(stdout).toMatch(/^3 cached, [^\n]*\n$/);
  });

  it("has no escape codes when stderr is no terminal", async () => {
    using user = new User();
    const { stdout, stderr } = await user.bpfcache(["prefetch", ...references, ...amd64]);
    expect(stdout + stderr).not.toContain(esc);
    expect(stdout + stderr).not.toContain("\r");
  });

  it("leaves one JSON document on stdout", async () => {
    using user = new User();
    const { stdout } = await user.bpfcache(["prefetch", ...references, "--json", ...amd64]);
    expect(json(stdout).images).toHaveLength(3);
  });

  it("is silent when asked to be", async () => {
    using user = new User();
    const { stderr } = await user.bpfcache(["prefetch", ...references, "--progress", "quiet", ...amd64]);
    expect(stderr).toBe("");
  });

  it("as JSON is one event a line, each with its version, its time and its kind", async () => {
    using user = new User();
    const { stderr } = await user.bpfcache(["prefetch", ...references, "--progress", "json", ...amd64]);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
    for (const line of stderr.trimEnd().split("\n"))
      expect(json(line)).toMatchObject({ v: 1, time, event: expect.stringMatching(/^[a-z]+$/) });
  });

  it("as JSON tells the way of each image from resolved to published", async () => {
    using user = new User();
    const [reference = ""] = references;
    const { stderr } = await user.bpfcache(["pull", reference, "--progress", "json", ...amd64]);
    const events = stderr.trimEnd().split("\n").map(json);
    const kinds = events.filter((event) => event.reference === reference).map(({ event }) => event);
    expect(kinds.indexOf("resolved")).toBeLessThan(kinds.indexOf("fetching"));
    expect(kinds.indexOf("fetching")).toBeLessThan(kinds.indexOf("fetched"));
    expect(kinds.lastIndexOf("fetched")).toBeLessThan(kinds.indexOf("published"));
  });

  it("as JSON tells of failures", async () => {
    using user = new User();
    const reference = registry.reference("org/none:v1");
    const { stderr } = await user.bpfcache(["prefetch", reference, "--progress", "json"]);
    const events = stderr
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map(json);
    expect(events).toContainEqual(expect.objectContaining({ event: "failed", reference, code: "NOT_FOUND" }));
  });

  it("shows each request when asked to be verbose", async () => {
    using user = new User();
    const [reference = ""] = references;
    const { stderr } = await user.bpfcache(["pull", reference, "--verbose", ...amd64]);
    expect(stderr).toMatch(/^GET .*\/v2\/org\/one\/blobs\/sha256:[0-9a-f]{64} 200 /m);
  });
});

const noTerminal = requireTools("script");

describe.skipIf(noTerminal)(`on a terminal${noTerminal ?? ""}`, () => {
  it("progress is plain when asked to be", async () => {
    using user = new User();
    const { stdout: shown } = await user.onTerminal([
      "prefetch",
      ...references,
      "--progress",
      "plain",
      ...amd64,
    ]);
    expect(shown).not.toContain(esc);
  });

  it("cat refuses to write bytecode to it", async () => {
    using user = new User();
    const [reference = ""] = references;
    await user.bpfcache(["pull", reference, ...amd64]);
    const { status, stdout: shown } = await user.onTerminal(["cat", reference, ...amd64]);
    expect(shown).toContain("[USAGE]");
    expect(shown).not.toContain("ELF");
    expect(status).toBe(2);
  });

  it("control characters in an image's own words are made visible", async () => {
    using user = new User();
    const bytes = minimalBpfElf();
    const labels = { "io.ebpf.programs": '{"pass":"xdp"}', evil: `${esc}[2J${esc}]0;title\u0007` };
    registry.add("org/evil:v1", bytecodeImage({ objects: [{ path: "pass.o", bytes }], labels }));
    await user.bpfcache(["pull", registry.reference("org/evil:v1"), ...amd64]);
    const { stdout: shown } = await user.onTerminal(["inspect", registry.reference("org/evil:v1"), ...amd64]);
    expect(shown).toContain("label");
    // Colours are the command's own; what clears a screen or sets a title would be the image's.
    expect(shown.replaceAll(new RegExp(`${esc}\\[\\d+m`, "g"), "")).not.toContain(esc);
    expect(shown).not.toContain("\u0007");
  });
});

describe("a pipe that is closed early", () => {
  const bulky = minimalBpfElf({ sections: [{ name: ".rodata", bytes: Buffer.alloc(1_000_000, "bulk ") }] });

  it.each([
    ["list", "list"],
    ["list --json", "list --json"],
    ["inspect", "inspect $REFERENCE"],
    ["cat", "cat $REFERENCE"],
    ["--help", "--help"],
  ])("makes %s end without complaint", async (_, command) => {
    using user = new User();
    registry.add("org/bulky:v1", bytecodeImage({ objects: [{ path: "bulky.o", bytes: bulky }] }));
    const reference = registry.reference("org/bulky:v1");
    await user.bpfcache(["pull", reference, ...amd64]);
    // `true` reads nothing and is gone long before there is anything to read.
    const { status, stderr } = await user.shell(
      `REFERENCE=${reference}; bpfcache ${command} ${amd64.join(" ")} | true; exit \${PIPESTATUS[0]}`,
    );
    expect(stderr).toBe("");
    expect([0, 141]).toContain(status);
  });

  it("gives head its line", async () => {
    using user = new User();
    await user.bpfcache(["prefetch", ...references, ...amd64]);
    const { status, stdout, stderr } = await user.shell(`bpfcache list | head -1; exit \${PIPESTATUS[0]}`);
    expect(stdout).toMatch(/^REFERENCE .*\n$/);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("SIGINT in the middle of a prefetch", () => {
  /** Interrupts a prefetch of which one image is cached and another's layer never comes. */
  async function interrupted(
    user: User,
    options: readonly string[],
  ): Promise<{
    readonly quick: string;
    readonly ended: { status: number | null; stdout: string; stderr: string };
  }> {
    const stuck = bytecodeImage({
      objects: [{ path: "stuck.o", bytes: minimalBpfElf({ license: "stuck" }) }],
    });
    registry.add("org/stuck:v1", stuck);
    const stop = registry.break({ path: stuck.layers[0]?.digest ?? "" }, { stallMs: 60_000 });
    try {
      const [quick = ""] = references;
      const words = [quick, registry.reference("org/stuck:v1"), ...amd64, ...options];
      const prefetch = user.start(["prefetch", ...words]);
      await prefetch.line("stderr", new RegExp(`cached ${quick}|"published".*${quick}`));
      prefetch.kill("SIGINT");
      return { quick, ended: await prefetch.ended };
    } finally {
      stop();
    }
  }

  it("ends with 130, at once", async () => {
    using user = new User();
    const started = Date.now();
    const { ended } = await interrupted(user, []);
    expect(ended.status).toBe(130);
    expect(ended.stderr).toContain("[INTERRUPTED]");
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  it("leaves what was published, and only that", async () => {
    using user = new User();
    const { quick } = await interrupted(user, []);
    const { stdout } = await user.bpfcache(["list", "--json"]);
    expect(json(stdout).images).toMatchObject([{ reference: quick }]);
  });

  it("has its error document on stderr under --json", async () => {
    using user = new User();
    const { ended } = await interrupted(user, ["--json"]);
    expect(lastLine(ended.stderr)).toMatchObject({ error: { code: "INTERRUPTED" } });
  });

  it("is answered by pull in the same way, and so is SIGTERM", async () => {
    using user = new User();
    const stuck = bytecodeImage({
      objects: [{ path: "stuck.o", bytes: minimalBpfElf({ license: "later" }) }],
    });
    registry.add("org/later:v1", stuck);
    const stop = registry.break({ path: stuck.layers[0]?.digest ?? "" }, { stallMs: 60_000 });
    const args = ["pull", registry.reference("org/later:v1"), "--progress", "json", ...amd64];
    const pull = user.start(args);
    await pull.line("stderr", new RegExp(`"fetching".*${stuck.layers[0]?.digest}`));
    pull.kill("SIGTERM");
    const { status, stdout } = await pull.ended;
    stop();
    expect({ status, stdout }).toEqual({ status: 130, stdout: "" });
  });
});
