import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { readLayer } from "../../../src/image/archive/layer.js";
import { requireTools } from "../../support/tools.js";

const directory = mkdtempSync(join(tmpdir(), "bpfcache-tar-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const contents: Readonly<Record<string, string>> = {
  "xdp.o": "bytecode",
  "bpf/größe.o": "umlaut",
  empty: "",
  [`${"deep/".repeat(12)}object.o`]: "ustar's prefix",
  [`${"long".repeat(40)}.o`]: "longer than a header's name",
};

function tree(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(directory, "tree-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

async function read(layer: Uint8Array): Promise<Record<string, string>> {
  const { files } = await readLayer(layer, { limits: defaultLimits, keep: () => true });
  return Object.fromEntries(files.map(({ path, bytes = [] }) => [path, Buffer.from(bytes).toString()]));
}

const noTar = requireTools("tar", "gzip");
const noPython = requireTools("python3");

describe("an archive that another program wrote", () => {
  test.skipIf(noTar).each(["gnu", "oldgnu", "pax", "posix"])(
    `is read: GNU tar's %s format${noTar ?? ""}`,
    async (format) => {
      const layer = execFileSync("tar", ["-C", tree(contents), `--format=${format}`, "-cz", "."]);
      expect(await read(layer)).toEqual(contents);
    },
  );

  test.skipIf(noTar)(
    `is read: GNU tar's ustar format, which has no names that long${noTar ?? ""}`,
    async () => {
      const short = Object.fromEntries(Object.entries(contents).filter(([path]) => path.length < 150));
      const layer = execFileSync("tar", ["-C", tree(short), "--format=ustar", "-cz", "."]);
      expect(await read(layer)).toEqual(short);
    },
  );

  test.skipIf(noPython).each(["GNU", "PAX"])(
    `is read: Python's %s format${noPython ?? ""}`,
    async (format) => {
      const script = `
import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz", format=tarfile.${format}_FORMAT) as archive:
    archive.add(sys.argv[1], arcname=".")`;
      const layer = execFileSync("python3", ["-c", script, tree(contents)]);
      expect(await read(layer)).toEqual(contents);
    },
  );
});
