import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { BpfcacheError } from "../../../../src/core/errors.js";
import { defaultLimits } from "../../../../src/core/limits.js";
import { inflateZstd, isZstd } from "../../../../src/image/archive/zstd/inflate-zstd.js";
import { requireTools } from "../../../support/tools.js";
import { skippableFrame, zstd, zstdBlock, zstdFrame, zstdMagic } from "../../../support/zstd.js";
import { mutantsOf, randomNumbers } from "../../elf/mutants.js";
import { sampleArchive, sampleFrames, uncheckedFrames } from "./samples.js";

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function unpack(
  packed: Uint8Array,
  { pieceBytes = 65_536, windowBytes = defaultLimits.zstdWindowBytes } = {},
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of inflateZstd(inPieces(packed, pieceBytes), windowBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function refusal(packed: Uint8Array, options?: Parameters<typeof unpack>[1]): Promise<string> {
  const error = await unpack(packed, options).catch((reason: unknown) => reason);
  if (!(error instanceof BpfcacheError)) throw new Error(`expected a refusal, got ${String(error)}`);
  expect(error.code).toBe("INVALID_IMAGE");
  return error.message;
}

const [oneBlock = Buffer.alloc(0)] = sampleFrames;
const hello = Buffer.from("hello");

/** A window of 1 KiB, nothing else. */
const plainHeader = Buffer.from([0x00, 0x00]);

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(" ", ""), "hex");
}

/** One compressed block in a frame with a window of 1 KiB. */
function compressed(hex: string): Buffer {
  return zstdFrame(plainHeader, zstdBlock("compressed", bytes(hex)));
}

describe("a zstd stream unpacks", () => {
  test.each([1, 7, 1_000, 65_536])(
    "what zstd's program packed, in pieces of %i bytes",
    async (pieceBytes) => {
      for (const frame of sampleFrames) {
        expect(sampleArchive.equals(await unpack(frame, { pieceBytes }))).toBe(true);
      }
    },
  );

  test("several frames, with frames to be skipped before, between and behind them", async () => {
    const packed = Buffer.concat([
      skippableFrame(hello),
      zstd(hello),
      skippableFrame(Buffer.alloc(100_000), 15),
      zstd(Buffer.alloc(0)),
      oneBlock,
      skippableFrame(Buffer.alloc(0)),
    ]);
    for (const pieceBytes of [1, 65_536]) {
      expect(Buffer.concat([hello, sampleArchive]).equals(await unpack(packed, { pieceBytes }))).toBe(true);
    }
  });

  test("blocks of each type in one frame, which see what earlier ones unpacked to", async () => {
    const frame = zstdFrame(
      plainHeader,
      zstdBlock("raw", hello, { isLast: false }),
      zstdBlock("repeated", Buffer.from("!"), { isLast: false, size: 3 }),
      zstdBlock("raw", Buffer.alloc(0), { isLast: false }),
      // No literals; one sequence: offset 8 (code 3, bits 011), 8 bytes.
      zstdBlock("compressed", bytes("00 01 54 00 03 05 0b")),
    );
    expect((await unpack(frame)).toString()).toBe("hello!!!hello!!!");
  });

  test("a frame without a content size, with one of each width", async () => {
    for (const header of ["00 00", "20 05", "e0 0500000000000000", "a0 05000000"]) {
      const frame = zstdFrame(bytes(header), zstdBlock("raw", hello));
      expect((await unpack(frame)).toString()).toBe("hello");
    }
    const content = Buffer.alloc(300, "x");
    expect(await unpack(zstdFrame(bytes("60 2c00"), zstdBlock("raw", content)))).toEqual(content);
  });

  test("a dictionary with the number 0, which is none", async () => {
    expect((await unpack(zstdFrame(bytes("01 00 00"), zstdBlock("raw", hello)))).toString()).toBe("hello");
  });
});

const missingZstd = requireTools("zstd");
describe.skipIf(missingZstd)(`like zstd's program${missingZstd ?? ""}`, () => {
  const random = randomNumbers(3);
  const contents: readonly (readonly [string, Buffer])[] = [
    ["nothing", Buffer.alloc(0)],
    ["one byte", Buffer.from("a")],
    ["zeros", Buffer.alloc(1_000_000)],
    ["noise", Buffer.from(Array.from({ length: 300_000 }, () => random(256)))],
    ["few kinds of bytes", Buffer.from(Array.from({ length: 300_000 }, () => random(5)))],
    ["a program", readFileSync(process.execPath).subarray(0, 600_000)],
    ["an archive", sampleArchive],
  ];
  const ways = [
    ["--fast=9"],
    ["-1"],
    ["-3", "--no-check"],
    ["-9"],
    ["-19"],
    ["--ultra", "-22"],
    ["-3", "--long=27"],
    ["-5", "--target-compressed-block-size=1400"],
    ["-4", "-T2", "-B100000"],
  ];
  test.each(contents)(
    "%s",
    async (_, content) => {
      for (const way of ways) {
        const packed = execFileSync("zstd", ["-q", "-c", ...way], { input: content, maxBuffer: 2 ** 26 });
        expect(content.equals(await unpack(packed)), way.join(" ")).toBe(true);
      }
    },
    60_000,
  );

  test("mutants are read as it reads them, or refused", async () => {
    let agreed = 0;
    for (const { bytes: mutant, seed } of mutantsOf(zstd(sampleArchive.subarray(0, 3_000)), 60)) {
      const ours = await unpack(mutant).catch(() => undefined);
      const theirs = unpackWithProgram(mutant);
      if (ours !== undefined) expect(theirs?.equals(ours), `mutant ${seed}`).toBe(true);
      if ((ours === undefined) === (theirs === undefined)) agreed++;
    }
    expect(agreed).toBeGreaterThan(50);
  }, 60_000);

  function unpackWithProgram(packed: Buffer): Buffer | undefined {
    try {
      return execFileSync("zstd", ["-q", "-d", "-c"], { input: packed, stdio: ["pipe", "pipe", "ignore"] });
    } catch {
      return undefined;
    }
  }
});

/** Node 22.15 and later have it. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (packed: Uint8Array) => Buffer };
const hasZstd = zstdDecompressSync !== undefined;

describe.skipIf(!hasZstd)(
  `like the zstd of newer versions of Node${hasZstd ? "" : " (skipped: this one has none)"}`,
  () => {
    test("mutants are read as it reads them, or refused", async () => {
      let read = 0;
      for (const frame of uncheckedFrames) {
        for (const { bytes: mutant, seed } of mutantsOf(frame, 3_000)) {
          const ours = await unpack(mutant).catch(() => undefined);
          if (ours === undefined) continue;
          read++;
          expect(zstdDecompressSync?.(mutant).equals(ours), `mutant ${seed}`).toBe(true);
        }
      }
      expect(read).toBeGreaterThan(10);
    });
  },
);

describe("a zstd stream is refused", () => {
  test.each<[behaviour: string, packed: Uint8Array, message: RegExp]>([
    ["with a wrong checksum", Buffer.concat([oneBlock.subarray(0, -1), Buffer.from([0])]), /checksum/],
    ["without its checksum", oneBlock.subarray(0, -4), /cut short/],
    ["cut in a block", oneBlock.subarray(0, 5_000), /cut short/],
    ["cut between blocks", zstdFrame(plainHeader, zstdBlock("raw", hello, { isLast: false })), /cut short/],
    ["cut in a header", oneBlock.subarray(0, 6), /cut short/],
    ["cut in its magic number", zstdMagic.subarray(0, 3), /cut short/],
    ["cut in a frame to be skipped", skippableFrame(hello).subarray(0, -1), /cut short/],
    ["with garbage behind it", Buffer.concat([zstd(hello), Buffer.from("garbage")]), /bytes after the end/],
    ["with zeros behind it", Buffer.concat([zstd(hello), Buffer.alloc(512)]), /bytes after the end/],
    ["with one byte behind it", Buffer.concat([zstd(hello), Buffer.from([0])]), /bytes after the end/],
    ["with a window of two terabytes", zstdFrame(bytes("00 ff"), zstdBlock("raw", hello)), /window of/],
    ["with a window just over the limit", zstdFrame(bytes("00 89"), zstdBlock("raw", hello)), /window of/],
    ["with a content, and so a window, over the limit", zstdFrame(bytes("e0 00000000ffffffff")), /window of/],
    ["with a dictionary", zstdFrame(bytes("01 00 07"), zstdBlock("raw", hello)), /dictionary/],
    ["with a reserved bit in its header", zstdFrame(bytes("08 00"), zstdBlock("raw", hello)), /reserved bit/],
    [
      "longer than it says",
      zstdFrame(
        bytes("20 04"),
        zstdBlock("raw", Buffer.from("hell"), { isLast: false }),
        zstdBlock("raw", hello),
      ),
      /larger|longer/,
    ],
    ["shorter than it says", zstdFrame(bytes("20 06"), zstdBlock("raw", hello)), /shorter/],
    ["with a block of no type", zstdFrame(plainHeader, zstdBlock("none", hello)), /no type/],
    [
      "with a raw block over 128 KiB",
      zstdFrame(bytes("00 70"), zstdBlock("raw", Buffer.alloc(131_073))),
      /larger/,
    ],
    [
      "with a repeated byte over 128 KiB",
      zstdFrame(bytes("00 70"), zstdBlock("repeated", hello.subarray(0, 1), { size: 2_000_000 })),
      /larger/,
    ],
    ["with a block over its window", zstdFrame(plainHeader, zstdBlock("raw", Buffer.alloc(1_025))), /larger/],
    ["with an empty compressed block", compressed(""), /empty/],
    ["with literals beyond the block", compressed("f8 61 62 00"), /literals are longer/],
    ["with more literals than a block may have", compressed("0d ff ff 61 00"), /literals are longer/],
    ["with something behind a block without sequences", compressed("08 61 00 00"), /without sequences/],
    ["with no number of sequences", compressed("08 61"), /cut short/],
    ["with a reserved bit in a block", compressed("08 61 01 01 01"), /reserved bit/],
    ["with tables of an earlier block, and none was", compressed("08 61 01 fc 01"), /earlier/],
    ["with the tree of an earlier block, and none was", compressed("13 40 00 00 00"), /earlier/],
    ["with a symbol that does not exist", compressed("08 61 01 54 24 00 00 01"), /does not exist/],
    ["with a bit stream that does not end", compressed("08 61 01 54 01 00 00 00"), /no end/],
    ["with bits left over", compressed("08 61 01 54 01 00 00 ff"), /longer or shorter/],
    ["with too few bits", compressed("08 61 01 54 01 10 00 01"), /ends early/],
    ["with a match before the beginning", compressed("08 61 01 54 01 03 00 08"), /back too far/],
    ["with more literals to copy than there are", compressed("08 61 01 54 05 00 00 01"), /few literals/],
    // Matches of 65,539 bytes and more, 98,047 times: some readers go on for minutes.
    [
      "with matches beyond all measure",
      compressed("00 ff ff ff 54 00 00 34 01"),
      /ends early|more than it may/,
    ],
    ["with a Huffman tree cut short", compressed("12 40 00 ff 00"), /literals are longer|cut short/],
    ["with an incomplete Huffman code", compressed("12 c0 00 82 31 00 00"), /complete|literals/],
    ["with nothing but a frame to be skipped, when that is cut", bytes("50 2a 4d 18 05"), /cut short/],
  ])("%s", async (_, packed, message) => {
    for (const pieceBytes of [1, 65_536]) expect(await refusal(packed, { pieceBytes })).toMatch(message);
  });

  test("at once, however much a frame of a few bytes asks for", async () => {
    const frame = zstdFrame(bytes("00 88"), zstdBlock("raw", hello)); // 128 MiB, the limit
    const before = process.memoryUsage().arrayBuffers;
    expect((await unpack(frame)).toString()).toBe("hello");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
  });
});

test("many blocks without contents leave others their turn", async () => {
  const empty = zstdBlock("raw", Buffer.alloc(0), { isLast: false });
  const packed = zstdFrame(
    plainHeader,
    Buffer.alloc(300_000 * empty.byteLength, empty),
    zstdBlock("raw", hello),
  );
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  expect((await unpack(packed)).toString()).toBe("hello");
  clearInterval(timer);
  expect(turns).toBeGreaterThan(1);
});

test("a stream is told by its first frame, or one to be skipped", () => {
  expect([zstd(hello), skippableFrame(hello), skippableFrame(hello, 15)].map(isZstd)).toEqual([
    true,
    true,
    true,
  ]);
  expect([Buffer.alloc(0), zstdMagic.subarray(0, 3), Buffer.from("hello")].map(isZstd)).toEqual([
    false,
    false,
    false,
  ]);
});
