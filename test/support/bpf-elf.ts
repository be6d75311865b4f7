import { type BtfMap, btfOfMaps } from "./btf.js";

/** A program of a generated object: one GLOBAL function in an executable section. */
export interface ElfProgram {
  readonly name: string;
  /** Its section, which tells libbpf the program's type. Programs that name the same section share it. Default `xdp`. */
  readonly section?: string;
  /** Instructions, 8 bytes each, in the object's byte order. Default: `r0 = 2; exit`, which is XDP_PASS. */
  readonly instructions?: Uint8Array;
}

export interface ElfOptions {
  readonly order?: "little" | "big";
  readonly programs?: readonly ElfProgram[];
  readonly maps?: readonly BtfMap[];
  readonly license?: string;
  /** Sections added as they are, such as `.rodata`; `symbols` name OBJECTs of 4 bytes at growing offsets in it. */
  readonly sections?: readonly {
    readonly name: string;
    readonly bytes: Uint8Array;
    readonly symbols?: readonly string[];
  }[];
  /** For hostile objects: the ELF header's e_machine (247 is EM_BPF) and e_type (1 is ET_REL). */
  readonly machine?: number;
  readonly type?: number;
}

const SHT = { progbits: 1, symtab: 2, strtab: 3 } as const;
const SHF = { write: 1, alloc: 2, execute: 4 } as const;
const STT = { object: 1, func: 2 } as const;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly entrySize?: number;
  readonly link?: number;
}

interface Symbol {
  readonly name: string;
  readonly type: number;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
}

/**
 * A small eBPF object as clang would write it: ELF64, ET_REL, EM_BPF, with program sections, `.maps` and its BTF,
 * a license, and symbol and string tables. With the host's byte order the kernel loads it, so no test needs clang.
 */
export function minimalBpfElf(options: ElfOptions = {}): Buffer {
  const { order = "little", programs = [{ name: "pass" }], maps = [], license = "GPL" } = options;
  const symbols: Symbol[] = [];
  const sections: Section[] = [];

  const code = new Map<string, Buffer>();
  for (const { name, section = "xdp", instructions = passInstructions(order) } of programs) {
    const before = code.get(section) ?? Buffer.alloc(0);
    symbols.push({
      name,
      type: STT.func,
      section,
      offset: before.byteLength,
      size: instructions.byteLength,
    });
    code.set(section, Buffer.concat([before, instructions]));
  }
  for (const [section, bytes] of code) {
    sections.push(programBits(section, bytes, SHF.alloc | SHF.execute));
  }

  if (maps.length > 0) {
    const btf = btfOfMaps(maps, order);
    for (const [index, { name }] of maps.entries()) {
      symbols.push({ name, type: STT.object, section: ".maps", offset: index * 32, size: 32 });
    }
    sections.push(programBits(".maps", Buffer.alloc(maps.length * 32), SHF.alloc | SHF.write));
    sections.push(programBits(".BTF", btf, 0));
  }
  for (const { name, bytes, symbols: names = [] } of options.sections ?? []) {
    sections.push(programBits(name, bytes, SHF.alloc));
    for (const [index, symbol] of names.entries()) {
      symbols.push({ name: symbol, type: STT.object, section: name, offset: index * 4, size: 4 });
    }
  }
  sections.push(programBits("license", Buffer.from(`${license}\0`), SHF.alloc | SHF.write));
  return layOut(order, sections, symbols, options);
}

function programBits(name: string, bytes: Uint8Array, flags: number): Section {
  return { name, type: SHT.progbits, flags, bytes };
}

function passInstructions(order: "little" | "big"): Uint8Array {
  // BPF_ALU64|BPF_MOV|BPF_K r0, 2; then BPF_JMP|BPF_EXIT. The register nibbles of r0 are zero in both orders.
  const move = order === "little" ? [0xb7, 0, 0, 0, 2, 0, 0, 0] : [0xb7, 0, 0, 0, 0, 0, 0, 2];
  return Buffer.from([...move, 0x95, 0, 0, 0, 0, 0, 0, 0]);
}

/** Adds the tables, then puts the header, the sections and the section headers one after another. */
function layOut(
  order: "little" | "big",
  contents: readonly Section[],
  symbols: readonly Symbol[],
  { machine = 247, type = 1 }: ElfOptions,
): Buffer {
  const strings = new StringTable();
  const names = ["", ...contents.map(({ name }) => name), ".symtab", ".strtab"];
  const nameOffsets = names.map((name) => strings.add(name));
  const symbolBytes = symbolTable(order, symbols, (name) => names.indexOf(name), strings);
  const sections: readonly Section[] = [
    { name: "", type: 0, flags: 0, bytes: Buffer.alloc(0) },
    ...contents,
    {
      name: ".symtab",
      type: SHT.symtab,
      flags: 0,
      bytes: symbolBytes,
      entrySize: 24,
      link: contents.length + 2,
    },
    { name: ".strtab", type: SHT.strtab, flags: 0, bytes: strings.bytes() },
  ];

  const fields = new FieldWriter(order);
  const parts: Buffer[] = [];
  const headers: Buffer[] = [];
  let offset = 64;
  for (const [index, section] of sections.entries()) {
    const padding = Buffer.alloc((8 - (offset % 8)) % 8);
    offset += padding.byteLength;
    headers.push(fields.sectionHeader(nameOffsets[index] ?? 0, section, index === 0 ? 0 : offset));
    parts.push(padding, Buffer.from(section.bytes));
    offset += section.bytes.byteLength;
  }
  const padding = Buffer.alloc((8 - (offset % 8)) % 8);
  const header = fields.elfHeader({
    type,
    machine,
    sectionHeaderOffset: offset + padding.byteLength,
    sectionCount: sections.length,
  });
  return Buffer.concat([header, ...parts, padding, ...headers]);
}

function symbolTable(
  order: "little" | "big",
  symbols: readonly Symbol[],
  sectionIndex: (name: string) => number,
  strings: StringTable,
): Buffer {
  const fields = new FieldWriter(order);
  const entries = symbols.map((symbol) => {
    const global = 1 << 4;
    return Buffer.concat([
      fields.u32(strings.add(symbol.name)),
      Buffer.from([global | symbol.type, 0]),
      fields.u16(sectionIndex(symbol.section)),
      fields.u64(symbol.offset),
      fields.u64(symbol.size),
    ]);
  });
  return Buffer.concat([Buffer.alloc(24), ...entries]);
}

/** NUL-terminated strings one after another; offset 0 is the empty string. */
class StringTable {
  #text = "\0";
  readonly #offsets = new Map<string, number>([["", 0]]);

  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = Buffer.byteLength(this.#text);
    this.#text += `${text}\0`;
    this.#offsets.set(text, offset);
    return offset;
  }

  bytes(): Buffer {
    return Buffer.from(this.#text);
  }
}

class FieldWriter {
  constructor(readonly order: "little" | "big") {}

  u16(value: number): Buffer {
    const bytes = Buffer.alloc(2);
    if (this.order === "little") bytes.writeUInt16LE(value);
    else bytes.writeUInt16BE(value);
    return bytes;
  }

  u32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    if (this.order === "little") bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  }

  u64(value: number): Buffer {
    const bytes = Buffer.alloc(8);
    if (this.order === "little") bytes.writeBigUInt64LE(BigInt(value));
    else bytes.writeBigUInt64BE(BigInt(value));
    return bytes;
  }

  elfHeader(header: {
    readonly type: number;
    readonly machine: number;
    readonly sectionHeaderOffset: number;
    readonly sectionCount: number;
  }): Buffer {
    const elf64 = 2;
    const order = this.order === "little" ? 1 : 2;
    return Buffer.concat([
      Buffer.from([0x7f, 0x45, 0x4c, 0x46, elf64, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      this.u16(header.type),
      this.u16(header.machine),
      this.u32(1), // e_version
      this.u64(0), // e_entry
      this.u64(0), // e_phoff
      this.u64(header.sectionHeaderOffset),
      this.u32(0), // e_flags
      this.u16(64), // e_ehsize
      this.u16(0), // e_phentsize
      this.u16(0), // e_phnum
      this.u16(64), // e_shentsize
      this.u16(header.sectionCount),
      this.u16(header.sectionCount - 1), // e_shstrndx: .strtab is the last and names the sections too
    ]);
  }

  sectionHeader(name: number, section: Section, offset: number): Buffer {
    return Buffer.concat([
      this.u32(name),
      this.u32(section.type),
      this.u64(section.flags),
      this.u64(0), // sh_addr
      this.u64(offset),
      this.u64(section.bytes.byteLength),
      this.u32(section.link ?? 0),
      this.u32(section.type === SHT.symtab ? 1 : 0), // sh_info: index of the first global symbol
      this.u64(section.type === 0 ? 0 : 8),
      this.u64(section.entrySize ?? 0),
    ]);
  }
}
