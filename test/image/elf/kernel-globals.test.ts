import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type GlobalValues, setGlobals } from "../../../src/image/elf/set-globals.js";
import { requireKernel, requireTools } from "../../support/tools.js";
import { type CompileOptions, compile } from "./clang.js";
import { constants } from "./kernel-objects.js";
import { LoadedObject, pinsLeft } from "./kernel-tools.js";

const missing = requireTools("clang", "llvm-strip", "bpftool") ?? requireKernel();
const because = missing ?? "";

const directory = mkdtempSync(join(tmpdir(), "bpfcache-globals-"));
const packet = join(directory, "packet");
writeFileSync(packet, Buffer.alloc(64));

afterAll(() => {
  rmSync(directory, { recursive: true });
  if (missing === undefined) expect(pinsLeft()).toEqual([]);
});

/** The object in the kernel as compiled, or with globals of other values. */
function load(source: string, globals?: GlobalValues, options?: CompileOptions): LoadedObject {
  const { path, bytes } = compile(source, options);
  if (globals === undefined) return LoadedObject.mustLoad(path);
  const changed = join(directory, "changed.o");
  writeFileSync(changed, setGlobals(bytes, globals));
  return LoadedObject.mustLoad(changed);
}

const verdict = `const volatile int verdict = 2;
  SEC("xdp") int decide(void *context) { return verdict; }`;

describe("a program in the kernel behaves by the value that a constant was set to", () => {
  test.skipIf(missing).each<[what: string, options: CompileOptions]>([
    ["with BTF", {}],
    ["stripped of debugging", { strip: true }],
    ["without BTF", { debug: false }],
    ["for -mcpu=v1", { cpu: "v1" }],
    ["for -mcpu=v3", { cpu: "v3" }],
  ])(`%s: what it returns${because}`, (_, options) => {
    using before = load(verdict, undefined, options);
    using after = load(verdict, { verdict: 1 }, options);
    using other = load(verdict, { verdict: -1 }, options);
    expect(before.run("decide", packet)).toBe(2);
    expect(after.run("decide", packet)).toBe(1);
    expect(other.run("decide", packet)).toBe(0xffff_ffff);
  });

  test.skipIf(missing)(`what it writes into a map${because}`, () => {
    const source = `
      struct seen { __u64 wide; int number; char text[12]; __u16 ports[3]; _Bool flag; unsigned char mode; };
      struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, struct seen);
               __uint(max_entries, 1); } result SEC(".maps");
      enum mode { OFF, ON = 5 };
      const volatile __u64 wide = 1;
      const volatile int number = 1;
      const volatile char text[12] = "before";
      const volatile __u16 ports[3] = {1, 1, 1};
      const volatile _Bool flag = 1;
      const volatile enum mode mode = ON;
      int more = 1;
      SEC("xdp") int record(void *context) {
        __u32 key = 0;
        struct seen *seen = bpf_map_lookup_elem(&result, &key);
        if (!seen) return 0;
        seen->wide = wide; seen->number = number + more; seen->flag = flag; seen->mode = mode;
        for (int i = 0; i < 12; i++) seen->text[i] = text[i];
        for (int i = 0; i < 3; i++) seen->ports[i] = ports[i];
        return 2;
      }`;
    using object = load(source, {
      wide: 0xfedc_ba98_7654_3210n,
      number: -2_000_000_000,
      text: "after",
      ports: [80, 443, 65_535],
      flag: false,
      mode: "OFF",
      more: -5,
    });
    expect(object.run("record", packet)).toBe(2);
    // JSON.parse rounds the first of them; the program of the next test compares all its bits.
    expect(object.lookup("result", [0, 0, 0, 0])).toEqual({
      wide: Number(0xfedc_ba98_7654_3210n),
      number: -2_000_000_005,
      text: "after",
      ports: [80, 443, 65_535],
      flag: false,
      mode: 0,
    });
  });

  test.skipIf(missing)(`which branch it takes, for a constant the verifier prunes by${because}`, () => {
    const source = `const volatile unsigned int limit = 10;
      const volatile __u64 wide = 0;
      SEC("xdp") int branch(struct xdp_md *context) {
        if (limit > 100) return wide == 0xfedcba9876543210ULL ? 3 : 1;
        return 2;
      }`;
    using before = load(source);
    using after = load(source, { limit: 101, wide: 0xfedc_ba98_7654_3210n });
    expect([before.run("branch", packet), after.run("branch", packet)]).toEqual([2, 3]);
  });
});

test.skipIf(missing)(`the kernel prints constants of all C types as they were set${because}`, () => {
  const globals = {
    c_char: -128,
    c_schar: 127,
    c_uchar: 255,
    c_short: -32_768,
    c_ushort: 65_535,
    c_int: -2_147_483_648,
    c_uint: 4_294_967_295,
    // As large as JSON.parse reads them back exactly.
    c_long: -(2 ** 53) + 1,
    c_ulong: 2 ** 53 - 1,
    c_llong: -1,
    c_ullong: 2 ** 40,
    c_bool: false,
    c_u8: 7,
    c_s64: -7,
    c_mode: "PASS",
    c_anonymous: "c_A",
    c_text: "other",
    c_ports: [1, 2, 65_535],
    c_grid: [
      [-1, -2, -3],
      [7, 8, 9],
    ],
  };
  const point = Buffer.alloc(24);
  point.writeInt32LE(-1, 0);
  point.writeBigInt64LE(-2n, 8);
  point.writeInt8(97, 16);
  point.writeInt16LE(-3, 18);
  const wide = Buffer.from("0102030405060708090a0b0c0d0e0f10", "hex").reverse();
  using object = load(constants, { ...globals, c_point: point, c_int128: wide });
  expect(object.variables(".rodata")).toMatchObject({
    ...globals,
    c_point: { x: -1, y: -2, inner: { a: 97, b: -3 } },
    c_int128: "0x102030405060708090a0b0c0d0e0f10",
  });
});
