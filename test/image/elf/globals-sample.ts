import type { ByteOrder } from "../../../src/core/platform.js";
import { BtfBuilder } from "../btf/btf-builder.js";
import { buildElf, type SectionPlan, type SymbolPlan } from "./elf-builder.js";

// BTF_INT_SIGNED and BTF_INT_BOOL of linux/btf.h.
const signed = 1;
const boolean = 4;

/** Every type a constant can have, one variable each, 32 bytes apart in .rodata, and some that are elsewhere. */
export function objectWithGlobals(byteOrder: ByteOrder): Buffer {
  const btf = new BtfBuilder(byteOrder);
  const int = (name: string, size: number, encoding = 0): number =>
    btf.add(1, name, 0, size, ((encoding << 24) | (size * 8)) >>> 0);
  const char = int("char", 1, signed);
  const u32 = int("unsigned int", 4);
  const names = ["MODE_PASS", "MODE_DROP", "MODE_NONE"].map((name) => btf.string(name));
  const mode = btf.add(6, "mode", 3, 4, ...[0, 7, 0xffff_ffff].flatMap((bits, at) => [names[at] ?? 0, bits]));
  const wide = btf.add(19, "wide", 1, 8, btf.string("FAR"), 0x89abcdef, 0x01234567);
  const types: Readonly<Record<string, readonly [type: number, size: number]>> = {
    i8: [char, 1],
    u8: [int("unsigned char", 1), 1],
    i16: [int("short", 2, signed), 2],
    u16: [int("unsigned short", 2), 2],
    i32: [int("int", 4, signed), 4],
    u32: [btf.add(10, "", 0, btf.add(9, "", 0, btf.add(8, "__u32", 0, u32))), 4],
    i64: [int("long", 8, signed), 8],
    u64: [int("unsigned long", 8), 8],
    i128: [int("__int128", 16, signed), 16],
    flag: [int("_Bool", 1, boolean), 1],
    mode: [mode, 4],
    wide: [wide, 8],
    pointer: [btf.pointer(char), 8],
    text: [btf.array(char, 8), 8],
    ports: [btf.array(u32, 3), 12],
    grid: [btf.array(btf.array(char, 4), 2), 8],
    point: [btf.struct("point", 8, [["x", u32]]), 8],
    flexible: [btf.struct("flexible", 4, [["length", u32]]), 12],
  };
  btf.dataSection(
    ".rodata",
    Object.entries(types).map(([name, [type]]) => btf.variable(name, type)),
  );
  btf.dataSection(".kconfig", [btf.variable("CONFIG_HZ", u32)]);
  const sections: SectionPlan[] = [
    { name: ".rodata", flags: 2, bytes: Buffer.alloc(32 * 20, 0xee) },
    { name: ".data.own", flags: 3, bytes: Buffer.alloc(32, 0xee) },
    { name: ".bss", type: 8, flags: 3, size: 32 },
    { name: ".BTF", bytes: btf.bytes() },
  ];
  const symbols: SymbolPlan[] = [
    ...Object.entries(types).map(([name, [, size]], index) => ({
      name,
      section: ".rodata",
      offset: 32 * index,
      size,
    })),
    { name: "untyped4", section: ".data.own", size: 4 },
    { name: "untyped3", section: ".data.own", offset: 8, size: 3 },
    { name: "twice", section: ".data.own", offset: 16, size: 4, binding: 0 },
    { name: "twice", section: ".rodata", offset: 32 * 19, size: 4, binding: 0 },
    { name: "counter", section: ".bss", size: 4 },
    { name: "CONFIG_HZ", type: 0 },
    { name: "LICENSE", type: 1, section: ".BTF", size: 4 },
  ];
  return buildElf({ byteOrder, sections, symbols });
}
