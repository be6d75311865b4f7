import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytecodeImage, imageIndex, minimalBpfElf, tarOf, writeLayout } from "./image-builder.js";
import { requireKernel, requireTools } from "./tools.js";

// What the other tests are built on must itself be accepted by the programs that define the formats.

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-fixtures-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("a generated tar", () => {
  it("is read by tar, with long paths and links", () => {
    const long = `${"a".repeat(120)}.o`;
    const file = join(directory, "layer.tar");
    writeFileSync(
      file,
      tarOf([
        { path: "dir/", type: "directory" },
        { path: long, bytes: Buffer.from("object") },
        { path: "link", type: "symlink", target: "/etc/passwd" },
      ]),
    );
    const listed = execFileSync("tar", ["-tvf", file], { encoding: "utf8" }).trim().split("\n");
    expect(listed).toHaveLength(3);
    expect(listed[1]).toContain(long);
    expect(listed[2]).toContain("link -> /etc/passwd");
  });
});

const skopeo = requireTools("skopeo");
describe.skipIf(skopeo)(`a generated layout${skopeo ?? ""}`, () => {
  const inspect = (tag: string) =>
    JSON.parse(execFileSync("skopeo", ["inspect", `oci:${directory}:${tag}`], { encoding: "utf8" }));

  it("is read by skopeo, OCI and Docker, single and index", () => {
    const image = bytecodeImage({ platform: "linux/amd64" });
    const docker = bytecodeImage({ docker: true });
    const index = imageIndex([{ image }, { image: bytecodeImage({ platform: "linux/s390x" }) }]);
    writeLayout(directory, [
      { name: "single", root: image },
      { name: "index", root: index },
      { name: "docker", root: imageIndex([{ image: docker }], { docker: true }) },
    ]);
    expect(inspect("single")).toMatchObject({
      Digest: image.root.digest,
      Labels: { "io.ebpf.programs": '{"pass":"xdp"}' },
    });
    expect(inspect("index").Architecture).toBe("amd64");
    execFileSync("skopeo", ["copy", "--all", `oci:${directory}:index`, `dir:${directory}/copy`]);
  });
});

const kernel = requireKernel();
describe.skipIf(kernel)(`a generated object${kernel ?? ""}`, () => {
  const load = (elf: Buffer) => {
    const file = join(directory, "program.o");
    const pins = `/sys/fs/bpf/bpfcache-fixtures-${process.pid}`;
    writeFileSync(file, elf);
    try {
      execFileSync("bpftool", ["prog", "loadall", file, pins], { stdio: "pipe" });
      return execFileSync("ls", [pins], { encoding: "utf8" }).trim().split("\n");
    } finally {
      rmSync(pins, { recursive: true, force: true });
    }
  };
  const host = endianness() === "LE" ? "little" : "big";

  it("is loaded by the kernel, with programs of several types and maps", () => {
    const elf = minimalBpfElf({
      order: host,
      programs: [{ name: "first" }, { name: "second" }, { name: "third", section: "tc" }],
      maps: [
        { name: "counts", type: 6 },
        { name: "flows", type: 1, maxEntries: 16 },
      ],
      sections: [{ name: ".rodata", bytes: Buffer.alloc(8), symbols: ["one", "two"] }],
    });
    expect(load(elf)).toEqual(["first", "second", "third"]);
  });

  it("is refused by the kernel's loader when it is of the other byte order", () => {
    const elf = minimalBpfElf({ order: host === "little" ? "big" : "little" });
    expect(() => load(elf)).toThrow("endianness mismatch");
  });
});
