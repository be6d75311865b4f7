import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { bytecodeImage, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { requireKernel } from "../support/tools.js";

const examples = join(import.meta.dirname, "..", "..", "examples");
const execute = promisify(execFile);
const kernel = requireKernel();

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "bpfcache-examples-"));
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe("examples/demo.js", () => {
  it("ends within 20 seconds with what a loader got, and leaves nothing behind", async () => {
    const { stdout } = await execute(process.execPath, [join(examples, "demo.js")], {
      timeout: 20_000,
      env: { ...process.env, TMPDIR: scratch },
    });
    for (const label of ["root digest", "manifest digest", "layer digest", "object digest"]) {
      expect(stdout.match(new RegExp(`^${label} +sha256:[0-9a-f]{64}`, "gm"))).toHaveLength(3);
    }
    expect(stdout.match(/^kernel program {3}(id \d+|not loaded: )/gm)).toHaveLength(3);
    expect(stdout).toMatch(/^Done in [\d.]+ s: 3 images/m);
    expect(readdirSync(scratch)).toEqual([]);
  });
});

describe("examples/air-gap.sh", () => {
  it("carries images and an update into a closed cache, which is sound", async () => {
    const { stdout } = await execute("sh", [join(examples, "air-gap.sh")], {
      timeout: 60_000,
      env: { ...process.env, TMPDIR: scratch },
    });
    const [, closed = "", , update = ""] = stdout.split(/^== .*$/m).slice(1);
    expect(closed).toContain("registry.example/bpfcache/xdp-pass:v1");
    expect(closed).not.toContain("xdp-counter");
    expect(update).toContain("registry.example/bpfcache/xdp-counter:v1");
    expect(update).toMatch(/: 0 damaged, 0 repaired/);
    expect(readdirSync(scratch)).toEqual([]);
  }, 60_000);
});

describe("examples/loader.js", () => {
  const order = endianness() === "LE" ? "little" : "big";
  const exitWithoutResult = Buffer.from([0x95, 0, 0, 0, 0, 0, 0, 0]); // the verifier: "R0 !read_ok"
  const elf = minimalBpfElf({
    order,
    programs: [{ name: "good" }, { name: "bad", section: "tc", instructions: exitWithoutResult }],
  });
  let directory: string;
  beforeAll(async () => {
    const layout = join(scratch, "layout");
    const image = bytecodeImage({
      objects: [{ path: "program.o", bytes: elf }],
      labels: { "io.ebpf.programs": '{"good":"xdp","bad":"tc"}', "io.ebpf.maps": "{}" },
    });
    writeLayout(layout, [{ name: "registry.example/org/rejected:v1", root: image }]);
    directory = join(scratch, "cache");
    await using cache = await openCache({ directory });
    await cache.seed([layout]);
  });
  const load = (reference: string, env: NodeJS.ProcessEnv = process.env) =>
    execute(process.execPath, [join(examples, "loader.js"), directory, reference], { env });

  it("says what it skips without bpftool, and succeeds", async () => {
    const { stdout } = await load("registry.example/org/rejected:v1", { PATH: "/nowhere" });
    expect(stdout).toMatch(/^programs {9}.*good \(xdp\).*\nkernel program {3}not loaded: \S/m);
  });

  it("fails for an image that is not cached", async () => {
    await expect(load("registry.example/org/other:v1")).rejects.toMatchObject({ code: 1 });
  });

  it.skipIf(kernel)(
    `shows the verifier's words when the kernel refuses, and leaves no pin${kernel ?? ""}`,
    async () => {
      await expect(load("registry.example/org/rejected:v1")).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining("R0 !read_ok"),
      });
      expect(readdirSync("/sys/fs/bpf").filter((name) => name.startsWith("bpfcache-example-"))).toEqual([]);
    },
  );
});
