import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { type Limits, withLimits } from "../../../src/core/limits.js";
import type { KeepFile } from "../../../src/image/archive/file-collector.js";
import { type LayerContents, readLayer } from "../../../src/image/archive/layer.js";
import { zstd, zstdBlock, zstdFrame } from "../../support/zstd.js";
import { endMarker, entry, gnuLongName, pax, tar, tarGz, withChecksum } from "./tar-builder.js";
import { sampleArchive, sampleFrames } from "./zstd/samples.js";

interface Options {
  readonly limits?: Partial<Limits>;
  readonly keep?: KeepFile;
  readonly signal?: AbortSignal;
}

function read(
  layer: Uint8Array,
  { limits, keep = () => true, signal }: Options = {},
): Promise<LayerContents> {
  return readLayer(layer, { limits: withLimits(limits), keep, signal });
}

async function contentsOf(layer: Uint8Array): Promise<Record<string, string>> {
  const { files } = await read(layer);
  return Object.fromEntries(files.map(({ path, bytes = [] }) => [path, Buffer.from(bytes).toString()]));
}

async function refusal(layer: Uint8Array, options?: Options): Promise<string> {
  const error = await read(layer, options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof BpfcacheError)) throw new Error(`expected a refusal, got ${String(error)}`);
  expect(error.code).toBe("INVALID_IMAGE");
  return error.message;
}

describe("what a layer holds", () => {
  test("the files of a gzip layer are read", async () => {
    expect(await contentsOf(tarGz(entry("xdp.o", "bytecode")))).toEqual({ "xdp.o": "bytecode" });
  });

  test("the files of a zstd layer are read, and its diff id is known", async () => {
    for (const layer of [zstd(sampleArchive), ...sampleFrames]) {
      const { diffId, files } = await read(layer);
      expect(files.map(({ path }) => path)).toEqual(["xdp.o", "prose.txt"]);
      expect(diffId).toBe((await read(sampleArchive)).diffId);
    }
  });

  test("the files of a plain tar layer are read", async () => {
    expect(await contentsOf(tar(entry("xdp.o", "bytecode")))).toEqual({ "xdp.o": "bytecode" });
  });

  test("the diff id is the digest of the inflated archive", async () => {
    const archive = tar(entry("xdp.o", "bytecode"));
    const digest = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
    expect((await read(gzipSync(archive))).diffId).toBe(digest);
    expect((await read(archive)).diffId).toBe(digest);
  });

  test("zeros after the end marker are padding, and part of the diff id", async () => {
    const archive = Buffer.concat([tar(entry("xdp.o", "bytecode")), Buffer.alloc(10_240 - 2_048)]);
    const { diffId, files } = await read(gzipSync(archive));
    expect(files).toHaveLength(1);
    expect(diffId).toBe(`sha256:${createHash("sha256").update(archive).digest("hex")}`);
  });

  test("a gzip stream of several members is one layer, as eStargz writes it", async () => {
    const archive = tar(entry("xdp.o", "bytecode"));
    const layer = Buffer.concat([gzipSync(archive.subarray(0, 700)), gzipSync(archive.subarray(700))]);
    expect(await contentsOf(layer)).toEqual({ "xdp.o": "bytecode" });
  });

  test("an empty archive in gzip has no files", async () => {
    expect((await read(gzipSync(endMarker))).files).toEqual([]);
  });

  test("directories are passed over and a leading ./ is taken off", async () => {
    const layer = tarGz(
      entry("./", "", { type: "5" }),
      entry("./bpf/", "", { type: "5" }),
      entry("./bpf/xdp.o", "1"),
      entry("././tc.o", "2"),
    );
    expect(await contentsOf(layer)).toEqual({ "bpf/xdp.o": "1", "tc.o": "2" });
  });

  test("only the files that were chosen are held", async () => {
    const layer = tarGz(entry("readme", "much text"), entry("xdp.o", "\x7fELF"), entry("empty"));
    const { files } = await read(layer, { keep: (_, head) => head[0] === 0x7f });
    expect(files).toEqual([
      { path: "readme", size: 9, bytes: undefined },
      { path: "xdp.o", size: 4, bytes: new Uint8Array(Buffer.from("\x7fELF")) },
      { path: "empty", size: 0, bytes: undefined },
    ]);
  });

  test("the choice is made by the path and the first 64 bytes, fewer when the file is shorter", async () => {
    const seen: [string, number][] = [];
    const layer = tarGz(entry("long", Buffer.alloc(300_000)), entry("short", "abc"), entry("empty"));
    await read(layer, { keep: (path, head) => seen.push([path, head.length]) === 0 });
    expect(seen).toEqual([
      ["long", 64],
      ["short", 3],
      ["empty", 0],
    ]);
  });

  test("a whiteout is a file like any other", async () => {
    expect((await read(tarGz(entry(".wh.xdp.o")))).files).toMatchObject([{ path: ".wh.xdp.o", size: 0 }]);
  });

  test("long names come through GNU and pax headers", async () => {
    const gnu = `${"g".repeat(200)}.o`;
    const paxName = `${"p/".repeat(150)}größe.o`;
    const layer = tarGz(
      gnuLongName(gnu),
      entry(gnu, "1"),
      pax([
        ["mtime", "1700000000.5"],
        ["path", paxName],
      ]),
      entry("cut", "2"),
    );
    expect(await contentsOf(layer)).toEqual({ [gnu]: "1", [paxName]: "2" });
  });

  test("global pax records with a comment, as git archive writes them, are passed over", async () => {
    expect(await contentsOf(tarGz(pax([["comment", "d3a7740"]], "g"), entry("a", "1")))).toEqual({ a: "1" });
  });

  test("bytes that a file was given survive, whatever the chunks of the stream", async () => {
    const big = Buffer.alloc(3_000_001, "The quick brown fox");
    for (const layer of [
      tarGz(entry("a", "1"), entry("big", big), entry("z", "9")),
      tar(entry("big", big)),
    ]) {
      const { files } = await read(layer);
      // Not toEqual: it takes seconds for three million elements.
      expect(big.equals(files.find(({ path }) => path === "big")?.bytes ?? new Uint8Array())).toBe(true);
    }
  });

  test("what tar-stream packs is read back, for any contents", async () => {
    const file = fc.record({
      name: fc.stringMatching(/^[a-z][a-z0-9_.-]{0,120}$/),
      contents: fc.uint8Array({ maxLength: 2_000 }),
    });
    const archives = fc.uniqueArray(file, { selector: ({ name }) => name, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(archives, fc.boolean(), async (files, compressed) => {
        const archive = await packed(files);
        if (files.length === 0 && !compressed) return;
        const { files: found } = await read(compressed ? gzipSync(archive) : archive);
        expect(found).toEqual(
          files.map(({ name, contents }) => ({ path: name, size: contents.length, bytes: contents })),
        );
      }),
    );
  });
});

async function packed(files: readonly { name: string; contents: Uint8Array }[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, contents } of files) archive.entry({ name }, Buffer.from(contents));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

describe("a layer that is refused", () => {
  const object = entry("xdp.o", "bytecode");
  const file = (name: string): Buffer => tarGz(entry(name, "x"));

  test.each<[behaviour: string, layer: Uint8Array, message: RegExp]>([
    ["nothing at all", new Uint8Array(), /empty/],
    [
      "bytes that are neither gzip nor zstd nor tar",
      Buffer.from("MZ".repeat(400)),
      /neither gzip nor zstd nor tar/,
    ],
    [
      "an ELF object that claims to be a layer",
      Buffer.from("\x7fELF".repeat(200)),
      /neither gzip nor zstd nor tar/,
    ],
    ["gzip with something else inside", gzipSync(Buffer.alloc(2_048, "x")), /checksum|malformed/],
    ["gzip that is cut short", tarGz(object).subarray(0, -12), /cut short/],
    ["gzip whose checksum is cut off", tarGz(object).subarray(0, -4), /cut short/],
    ["gzip with garbage behind it", Buffer.concat([tarGz(object), Buffer.from("garbage")]), /after|behind/],
    [
      "gzip with a zero and garbage behind it",
      Buffer.concat([tarGz(object), Buffer.from("\0garbage")]),
      /after/,
    ],
    ["gzip with zeros behind it", Buffer.concat([tarGz(object), Buffer.alloc(512)]), /after/],
    ["gzip with a damaged checksum", damaged(tarGz(object), -6), /damaged/],
    ["a symbolic link", tarGz(entry("xdp.o", "", { type: "2", linkName: "/etc/shadow" })), /symbolic link/],
    ["a hard link", tarGz(object, entry("b.o", "", { type: "1", linkName: "xdp.o" })), /hard link/],
    ["a character device", tarGz(entry("null", "", { type: "3" })), /character device/],
    ["a block device", tarGz(entry("sda", "", { type: "4" })), /block device/],
    ["a fifo", tarGz(entry("pipe", "", { type: "6" })), /fifo/],
    ["a contiguous file", tarGz(entry("a", "x", { type: "7" })), /contiguous/],
    ["a sparse file of GNU tar", tarGz(entry("a", "x", { type: "S" })), /sparse/],
    ["a sparse file in pax", tarGz(pax([["GNU.sparse.major", "1"]]), object), /sparse/],
    ["an unknown type", tarGz(entry("a", "x", { type: "Z" })), /unknown type/],
    ["an absolute path", file("/etc/passwd"), /absolute/],
    ["a path that climbs out", file("../xdp.o"), /out of the layer/],
    ["a path that climbs out from the middle", file("a/../../xdp.o"), /out of the layer/],
    ["a path that climbs out by pax", tarGz(pax([["path", "a/../x"]]), object), /out of the layer/],
    [
      "a path that climbs out by a GNU name",
      tarGz(gnuLongName("../../etc/cron.d/x"), object),
      /out of the layer/,
    ],
    ["a directory that climbs out", tarGz(entry("../", "", { type: "5" })), /out of the layer/],
    ["a backslash", file("..\\xdp.o"), /backslash/],
    ["a control character", file("x\x1b[2Jdp.o"), /control character/],
    ["NUL in a pax path", tarGz(pax([["path", "a.o\0.txt"]]), object), /NUL/],
    ["a file without a name", file(""), /no name/],
    ["a file named as the root", file("./"), /not a regular file/],
    ["a file whose name is a directory's", file("bpf/"), /not a regular file/],
    ["an empty file whose name is a directory's", tarGz(entry("bpf/")), /not a regular file/],
    ["a GNU long name that does not end", tarGz(entry("L", "name", { type: "L" }), object), /long name/],
    ["an empty GNU long name", tarGz(gnuLongName(""), object), /long name/],
    [
      "a pax header with more records behind its end",
      tarGz(entry("P", `${"11 path=ab\n".repeat(2)}`, { type: "x", size: 11 }), object),
      /behind/,
    ],
    ["a malformed mode", tarGz(withField(object, 100, "rw-r--r-")), /malformed number/],
    ["a name longer than a path can be", tarGz(gnuLongName("x".repeat(5_000)), object), /longer than/],
    ["two files of one name", tarGz(object, object), /two entries are named "xdp.o"/],
    ["two names that are one", tarGz(object, entry("././xdp.o", "other")), /two entries/],
    ["two names that are one by a double slash", tarGz(entry("a/b", "1"), entry("a//b", "2")), /two entries/],
    ["a directory with contents", tarGz(entry("d", Buffer.alloc(512), { type: "5" })), /directory/],
    ["an archive without an end marker", gzipSync(object), /no end marker/],
    [
      "an archive with half an end marker",
      gzipSync(Buffer.concat([object, Buffer.alloc(512)])),
      /one zero block/,
    ],
    [
      "a single zero block before more entries",
      gzipSync(Buffer.concat([object, Buffer.alloc(512), tar(entry("b.o", "x"))])),
      /single zero block/,
    ],
    [
      "entries behind the end marker",
      gzipSync(Buffer.concat([tar(object), tar(entry("b.o", "x"))])),
      /end marker/,
    ],
    ["one byte behind the end marker", gzipSync(Buffer.concat([tar(object), Buffer.from([1])])), /cut short/],
    ["an archive cut inside a file", gzipSync(object.subarray(0, 600)), /cut short/],
    ["an archive cut inside a header", gzipSync(object.subarray(0, 300)), /cut short/],
    ["a plain archive cut inside a file", object.subarray(0, 600), /cut short/],
    ["a wrong header checksum", tarGz(damaged(object, 0)), /checksum/],
    ["a negative size", tarGz(withField(object, 124, "-0000000001\0")), /malformed number/],
    [
      "a size with something behind its digits",
      tarGz(withField(object, 124, "10 7777777\0\0")),
      /malformed number/,
    ],
    ["a size beyond all limits", tarGz(withField(object, 124, "77777777777\0")), /too big/],
    [
      "a size in base 256 beyond all numbers",
      tarGz(withField(object, 124, `\x80${"\xff".repeat(11)}`)),
      /absurd/,
    ],
    [
      "a pax record that overrides the size",
      tarGz(pax([["size", "1"]]), object),
      /overrides an entry's size/,
    ],
    ["a global pax record that overrides the size", tarGz(pax([["size", "1"]], "g"), object), /overrides/],
    [
      "a global pax record that names all entries",
      tarGz(pax([["path", "a"]], "g"), object),
      /global pax record/,
    ],
    [
      "a pax record with a wrong length",
      tarGz(entry("P", "99 path=a\n", { type: "x" }), object),
      /pax record/,
    ],
    [
      "a pax record with a negative length",
      tarGz(entry("P", "-9 path=a\n", { type: "x" }), object),
      /pax record/,
    ],
    ["a pax record without a value", tarGz(entry("P", "7 path\n", { type: "x" }), object), /pax record/],
    ["a pax record without an end", tarGz(entry("P", "9 path=ab", { type: "x" }), object), /pax record/],
    [
      "two pax headers for one entry",
      tarGz(pax([["path", "a"]]), pax([["path", "b"]]), object),
      /two tar headers/,
    ],
    ["two names for one entry", tarGz(gnuLongName("a"), pax([["path", "b"]]), object), /two tar headers/],
    ["a pax header for no entry", tarGz(object, pax([["path", "a"]])), /does not come/],
    [
      "a global header between a name and its entry",
      tarGz(gnuLongName("a"), pax([["comment", "x"]], "g"), object),
      /between/,
    ],
    ["a pax header of two megabytes", tarGz(pax([["comment", "x".repeat(2_000_000)]]), object), /1 MiB/],
    ["an archive older than POSIX", tarGz(withField(object, 257, "\0\0\0\0\0\0\0\0")), /malformed/],
  ])("%s", async (_, layer, message) => {
    expect(await refusal(layer)).toMatch(message);
  });

  test.each([
    ["cut short", zstd(tar(object)).subarray(0, -12), /zstd stream is cut short/],
    ["with garbage behind it", Buffer.concat([zstd(tar(object)), Buffer.from("garbage")]), /after the end/],
    ["with something else inside", zstd(Buffer.alloc(2_048, "x")), /checksum|malformed/],
  ])("zstd %s", async (_, layer, message) => {
    expect(await refusal(layer)).toMatch(message);
  });
});

function damaged(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  copy.writeUInt8((copy.readUInt8(index) + 1) % 256, index);
  return copy;
}

function withField(header: Buffer, offset: number, text: string): Buffer {
  const copy = Buffer.from(header);
  copy.write(text, offset, "latin1");
  return withChecksum(copy);
}

describe("limits", () => {
  test("a bomb is stopped by its ratio, long before it has inflated", async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024), { level: 9 });
    expect(await refusal(bomb, { limits: { inflationRatio: 100 } })).toMatch(/100 times its size/);
  });

  test("a zstd bomb is stopped by its ratio, and by what it inflates to", async () => {
    // A gigabyte in 8,192 blocks of four bytes.
    const block = zstdBlock("repeated", Buffer.from([0]), { isLast: false, size: 131_072 });
    const bomb = zstdFrame(Buffer.from([0x00, 0x70]), Buffer.alloc(8_192 * 4, block));
    expect(await refusal(bomb, { limits: { inflationRatio: 100 } })).toMatch(/100 times its size/);
    const limits = { inflationRatio: 1e9, inflatedBytes: 20_000_000 };
    expect(await refusal(bomb, { limits })).toMatch(/20000000 bytes/);
  });

  test("the window of zstd has a limit", async () => {
    const [layer = Buffer.alloc(0)] = sampleFrames;
    expect(await refusal(layer, { limits: { zstdWindowBytes: 16_384 } })).toMatch(/16384 is the limit/);
  });

  test("a small archive of zeros is no bomb", async () => {
    const layer = gzipSync(tar(entry("zeros", Buffer.alloc(900_000))), { level: 9 });
    expect((await read(layer, { limits: { inflationRatio: 10 } })).files).toHaveLength(1);
  });

  test("inflated bytes are counted, compressed or not", async () => {
    const archive = tar(entry("a", Buffer.alloc(200_000)));
    const limits = { inflatedBytes: 200_000 };
    expect(await refusal(archive, { limits })).toMatch(/200000 bytes/);
    expect(await refusal(gzipSync(archive), { limits })).toMatch(/200000 bytes/);
  });

  test("10,000 entries are read, one more is refused", async () => {
    const entries = Array.from({ length: 10_000 }, (_, index) => entry(`f${index}`));
    expect((await read(tarGz(...entries))).files).toHaveLength(10_000);
    expect(await refusal(tarGz(...entries, entry("one-more")))).toMatch(/more than 10000 entries/);
  });

  test("directories and global headers count as entries too", async () => {
    const limits = { tarEntries: 2 };
    expect(await refusal(tarGz(entry("a/", "", { type: "5" }), entry("b"), entry("c")), { limits })).toMatch(
      /entries/,
    );
    const comment = pax([["comment", "x"]], "g");
    expect(await refusal(tarGz(comment, comment, comment), { limits })).toMatch(/entries/);
  });

  test("a file that is wanted may not be larger than an object", async () => {
    const layer = tarGz(entry("xdp.o", Buffer.alloc(5_000)));
    const limits = { objectBytes: 4_999 };
    expect(await refusal(layer, { limits })).toMatch(/"xdp.o" is larger than 4999 bytes/);
    expect((await read(layer, { limits, keep: () => false })).files).toHaveLength(1);
  });

  test("what is not kept is not held in memory", async () => {
    const layer = tarGz(entry("big", Buffer.alloc(200 * 1024 * 1024, "abcdefg")));
    const before = process.memoryUsage.rss();
    await read(layer, { keep: () => false });
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 1024 * 1024);
  });
});

describe("abort", () => {
  const big = Buffer.concat(
    Array.from({ length: 40 }, (_, index) => entry(`f${index}`, Buffer.alloc(1_000_000, index))),
  );

  test("a signal that is already aborted ends the reading before it begins", async () => {
    const signal = AbortSignal.abort();
    await expect(read(tarGz(entry("a")), { signal })).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  test.each([
    ["gzip", gzipSync(tar(big), { level: 1 })],
    ["zstd", zstd(tar(big))],
    ["plain tar", tar(big)],
  ])("a signal ends the reading of %s between two chunks", async (_, layer) => {
    const controller = new AbortController();
    let begun = 0;
    const reading = read(layer, {
      signal: controller.signal,
      keep: () => {
        if (++begun === 2) controller.abort(new Error("enough"));
        return true;
      },
    });
    await expect(reading).rejects.toMatchObject({ code: "INTERRUPTED", cause: new Error("enough") });
    expect(begun).toBeLessThan(10);
  });

  test("a timer can fire while a plain archive is read", async () => {
    const signal = AbortSignal.timeout(1);
    await expect(read(tar(big), { signal })).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  test("an error of the one who chooses comes out as it is, and ends the reading", async () => {
    const bug = new TypeError("a bug");
    let asked = 0;
    const reading = read(tarGz(entry("a", "1"), entry("b", "2")), {
      keep: () => {
        asked++;
        throw bug;
      },
    });
    await expect(reading).rejects.toBe(bug);
    expect(asked).toBe(1);
  });
});
