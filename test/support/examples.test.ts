import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { requireTools } from "./tools.js";

const examples = join(import.meta.dirname, "..", "..", "examples");

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-examples-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Every file under a directory by its relative path. */
function filesOf(root: string): Map<string, Buffer> {
  const paths = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(paths.map((path) => [path.slice(root.length + 1), readFileSync(path)]));
}

describe("examples/layout", () => {
  it("is what build-layout.js makes of the objects", () => {
    execFileSync(process.execPath, [join(examples, "build-layout.js"), directory]);
    expect(filesOf(directory)).toEqual(filesOf(join(examples, "layout")));
  });

  it("holds nothing but blobs that have their digests' names and sizes, and the objects as compiled", () => {
    const blobs = filesOf(join(examples, "layout", "blobs", "sha256"));
    const objects = new Set(
      [...filesOf(join(examples, "bpf", "objects")).values()].map((bytes) => digestOf(bytes)),
    );
    const reached = new Set<string>();
    const layered = new Set<string>();
    const follow = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return;
      const { digest, size, mediaType } = value as { digest?: string; size?: number; mediaType?: string };
      if (digest !== undefined) {
        const bytes = blobs.get(digest.replace("sha256:", "")) ?? Buffer.alloc(0);
        expect([digestOf(bytes), bytes.byteLength]).toEqual([digest, size]);
        reached.add(digest);
        if (mediaType?.endsWith("+json")) follow(JSON.parse(bytes.toString()));
        else layered.add(digestOf(fileInTar(gunzipSync(bytes))));
      }
      for (const member of Object.values(value)) follow(member);
    };
    follow(JSON.parse(readFileSync(join(examples, "layout", "index.json"), "utf8")));
    expect(reached.size).toBe(blobs.size);
    // xdp_pass is published for little-endian hosts only.
    expect(layered.size).toBe(objects.size - 1);
    expect([...layered].filter((digest) => !objects.has(digest as never))).toEqual([]);
  });
});

/** The bytes of an archive's first member. */
function fileInTar(tar: Buffer): Buffer {
  const size = Number.parseInt(tar.toString("latin1", 124, 135), 8);
  return tar.subarray(512, 512 + size);
}

const compiler = requireTools("clang", "llvm-strip");
describe.skipIf(compiler)(`examples/bpf/build.sh${compiler ?? ""}`, () => {
  it("gives the same bytes every time, and with clang 14 those checked in", () => {
    const build = join(examples, "bpf", "build.sh");
    const [first, second] = [join(directory, "first"), join(directory, "second")];
    for (const output of [first, second]) execFileSync(build, [output], { cwd: "/" });
    expect(filesOf(first)).toEqual(filesOf(second));
    const checkedIn = filesOf(join(examples, "bpf", "objects"));
    expect([...filesOf(first).keys()].sort()).toEqual([...checkedIn.keys()].sort());
    const version = execFileSync("clang", ["--version"], { encoding: "utf8" });
    if (/version 14\./.test(version)) expect(filesOf(first)).toEqual(checkedIn);
  });
});
