import { readFileSync } from "node:fs";
import { minimalBpfElf } from "../../../support/bpf-elf.js";
import { randomNumbers } from "../../elf/mutants.js";
import { entry, tar } from "../tar-builder.js";

/** Text with few words and many repetitions: it compresses to all that a frame can have in it. */
function prose(words: number): string {
  const random = randomNumbers(7);
  const vocabulary = Array.from({ length: 400 }, () =>
    Array.from({ length: 2 + random(8) }, () =>
      String.fromCharCode(97 + Math.min(random(26), random(26))),
    ).join(""),
  );
  return Array.from({ length: words }, () => vocabulary[Math.min(random(400), random(400))]).join(" ");
}

/** The archive that both fixtures unpack to. */
export const sampleArchive = tar(entry("xdp.o", minimalBpfElf()), entry("prose.txt", prose(5_000)));

/**
 * What zstd 1.5.4 makes of it, with a checksum: in one block, and in many that use each other's tables
 *
 *     zstd -19; zstd -19 --target-compressed-block-size=1400
 */
export const sampleFrames: readonly Buffer[] = ["one-block", "many-blocks"].map((name) =>
  readFileSync(new URL(`fixtures/${name}.zst`, import.meta.url)),
);

/** The same without the checksum, which would catch nearly every change, and without the bit that announces it. */
export const uncheckedFrames: readonly Buffer[] = sampleFrames.map(withoutChecksum);

function withoutChecksum(frame: Buffer): Buffer {
  const copy = Buffer.from(frame.subarray(0, -4));
  copy.writeUInt8(copy.readUInt8(4) & ~0x04, 4);
  return copy;
}
