import { type ByteReader, malformedObject } from "../elf/byte-reader.js";

const magic = 0xeb9f;
/** Without the CO-RE part, which came later (linux 5.4). */
const oldHeaderBytes = 24;
const headerBytes = 32;

/**
 * How many CO-RE relocations a `.BTF.ext` section holds (Documentation/bpf/btf.rst, ".BTF.ext section"). More than
 * none means that loading the object needs the kernel's own BTF. Throws INVALID_IMAGE when it is malformed.
 */
export function countCoreRelocations(section: ByteReader): number {
  if (section.u16(0) !== magic) throw malformedObject(".BTF.ext does not begin with BTF's magic number");
  const headerLength = section.u32(4);
  if (headerLength < oldHeaderBytes) throw malformedObject(".BTF.ext has too short a header");
  if (headerLength < headerBytes) return 0;
  const length = section.u32(28);
  if (length === 0) return 0;
  return countRecords(section.window(headerLength + section.u32(24), length, "the relocations of .BTF.ext"));
}

/** A record size, then for each program section its name, a count, and that many records. */
function countRecords(relocations: ByteReader): number {
  const recordBytes = relocations.u32(0);
  if (recordBytes === 0) throw malformedObject(".BTF.ext has relocations of no size");
  let total = 0;
  let at = 4;
  while (at < relocations.length) {
    const count = relocations.u32(at + 4);
    relocations.bytes(at + 8, count * recordBytes);
    total += count;
    at += 8 + count * recordBytes;
  }
  return total;
}
