import type { ByteOrder } from "../../../src/core/platform.js";

/** A section as it is to stand in the file; nothing is checked, so hostile objects can be built. */
export interface SectionPlan {
  readonly name: string;
  /** SHT_*; 1 (PROGBITS) unless told. */
  readonly type?: number;
  /** SHF_*: 1 write, 2 alloc, 4 execute. */
  readonly flags?: number;
  readonly bytes?: Uint8Array;
  /** What the header says, when it is to differ from the bytes. */
  readonly size?: number;
  readonly offset?: number;
  readonly link?: number;
  readonly entrySize?: number;
}

export interface SymbolPlan {
  readonly name: string;
  /** STT_*: 0 none, 1 object (unless told), 2 function. */
  readonly type?: number;
  /** STB_*: 0 local, 1 global (unless told), 2 weak. */
  readonly binding?: number;
  /** Its section's name, or a number for what no section has. Without one it is undefined: an extern. */
  readonly section?: string | number;
  readonly offset?: number;
  readonly size?: number;
}

export interface ElfPlan {
  readonly byteOrder?: ByteOrder;
  readonly machine?: number;
  readonly type?: number;
  readonly sections?: readonly SectionPlan[];
  readonly symbols?: readonly SymbolPlan[];
  /** Leave the symbol table out, as `strip` does. */
  readonly stripped?: boolean;
}

/** `size` bytes of a program: zeros, which no kernel takes, but nothing here looks at instructions. */
export function code(name: string, size = 16): SectionPlan {
  return { name, flags: 2 | 4, bytes: Buffer.alloc(size) };
}

export function programSymbol(name: string, section: string, offset = 0, size = 16): SymbolPlan {
  return { name, type: 2, section, offset, size };
}

/** The layout is: ELF header, section contents, section table. The names of sections and symbols share `.strtab`. */
export function buildElf(plan: ElfPlan = {}): Buffer {
  const { byteOrder = "little", symbols = [] } = plan;
  const strings = new Strings();
  const write = (bytes: number, value: number): Buffer => number(byteOrder, bytes, value);
  const planned: SectionPlan[] = [{ name: "", type: 0 }, ...(plan.sections ?? [])];
  const indexOf = (section: string | number | undefined): number =>
    typeof section === "string" ? planned.findIndex(({ name }) => name === section) : (section ?? 0);
  const entries = symbols.map((symbol) =>
    Buffer.concat([
      write(4, strings.add(symbol.name)),
      Buffer.from([((symbol.binding ?? 1) << 4) | (symbol.type ?? 1), 0]),
      write(2, indexOf(symbol.section)),
      write(8, symbol.offset ?? 0),
      write(8, symbol.size ?? 8),
    ]),
  );
  if (plan.stripped !== true) {
    const link = planned.length + 1;
    planned.push({
      name: ".symtab",
      type: 2,
      link,
      entrySize: 24,
      bytes: Buffer.concat([Buffer.alloc(24), ...entries]),
    });
  }
  const names = [...planned, { name: ".strtab" }].map(({ name }) => strings.add(name));
  planned.push({ name: ".strtab", type: 3, bytes: strings.bytes() });

  let offset = 64;
  const contents: Uint8Array[] = [];
  const headers = planned.map((section, index) => {
    const { bytes = new Uint8Array() } = section;
    const header = Buffer.concat([
      write(4, names[index] ?? 0),
      write(4, section.type ?? 1),
      write(8, section.flags ?? 0),
      write(8, 0),
      write(8, section.offset ?? offset),
      write(8, section.size ?? bytes.byteLength),
      write(4, section.link ?? 0),
      write(4, 0),
      write(8, 1),
      write(8, section.entrySize ?? 0),
    ]);
    contents.push(bytes);
    offset += bytes.byteLength;
    return header;
  });
  const header = Buffer.concat([
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, byteOrder === "little" ? 1 : 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    write(2, plan.type ?? 1),
    write(2, plan.machine ?? 247),
    write(4, 1),
    write(8, 0),
    write(8, 0),
    write(8, offset),
    write(4, 0),
    ...[64, 0, 0, 64, planned.length, planned.length - 1].map((value) => write(2, value)),
  ]);
  return Buffer.concat([header, ...contents, ...headers]);
}

/** An unsigned number of 2, 4 or 8 bytes. */
export function number(byteOrder: ByteOrder, bytes: number, value: number): Buffer {
  const big = Buffer.alloc(8);
  big.writeBigUInt64BE(BigInt(value));
  const tail = big.subarray(8 - bytes);
  return byteOrder === "big" ? tail : Buffer.from(tail).reverse();
}

class Strings {
  #text = "\0";

  add(text: string): number {
    if (text === "") return 0;
    const offset = Buffer.byteLength(this.#text);
    this.#text += `${text}\0`;
    return offset;
  }

  bytes(): Buffer {
    return Buffer.from(this.#text);
  }
}
