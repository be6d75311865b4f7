import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KernelProgram } from "../../src/programs/kernel-program.js";
import { ProgramData } from "../../src/programs/program-data.js";
import { Environment } from "../../src/store/environment.js";
import { KeyRange } from "../../src/store/key-range.js";
import { programPrefix } from "../../src/store/program-keys.js";

const boot = Buffer.alloc(16, 7);
let environment: Environment;
beforeAll(() => {
  environment = Environment.open();
});
afterAll(() => environment.close());

const range = (id: number): KeyRange => new KeyRange(environment, "programs", programPrefix(boot, id));
let drawn = 1;
const newProgram = (): ProgramData => new ProgramData(range(drawn), drawn++);

describe("what is known of a program", () => {
  it("keeps 25 map ids in their order, and fewer leave nothing behind", () => {
    const data = newProgram();
    const many = Array.from({ length: 25 }, (_, i) => 1_000 - i);
    data.kernel = kernel({ mapIds: many });
    expect(data.kernel?.mapIds).toEqual(many);
    data.kernel = kernel({ mapIds: [3, 1, 2] });
    expect(data.kernel?.mapIds).toEqual([3, 1, 2]);
    expect(rows(data)).toBe(rowsWith({ mapIds: 3 }));
  });

  it("keeps 300 entries of metadata in the order of their keys' bytes, and fewer leave nothing behind", () => {
    const data = newProgram();
    const keys = Array.from({ length: 300 }, (_, i) => `key ${i}`);
    data.metadata = new Map(keys.map((key) => [key, `value of ${key}`]));
    const inOrder = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...data.metadata]).toEqual(inOrder.map((key) => [key, `value of ${key}`]));
    data.metadata = new Map([["one", "1"]]);
    expect([...data.metadata]).toEqual([["one", "1"]]);
    expect(rows(data)).toBe(1);
  });

  it("takes keys with any characters, and no two of them meet", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    const odd = fc.constantFrom(
      "",
      "\0",
      "a\0b",
      "a",
      "\u0001",
      "__proto__",
      "metadata",
      "ÿ",
      "a\0",
      "\u{10ffff}",
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.oneof(text, odd), text, { maxKeys: 20, noNullPrototype: true }),
        (metadata) => {
          const data = newProgram();
          const globals = new Map(Object.keys(metadata).map((key) => [key, Buffer.from(`${key}!`)]));
          data.metadata = new Map(Object.entries(metadata));
          data.globalData = globals;
          expect(new Map(data.metadata)).toEqual(new Map(Object.entries(metadata)));
          expect(new Map(data.globalData)).toEqual(globals);
          expect(rows(data)).toBe(2 * globals.size);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("refuses a key that is not well-formed text or too long, and keeps what was there", () => {
    const data = newProgram();
    data.metadata = new Map([["kept", "yes"]]);
    for (const key of ["\ud800", "x".repeat(2_000)])
      expect(() => {
        data.metadata = new Map([
          ["first", "no"],
          [key, "no"],
        ]);
      }).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect([...data.metadata]).toEqual([["kept", "yes"]]);
  });

  it("is apart from that of the next program", () => {
    const [one, two] = [newProgram(), newProgram()];
    one.name = "one";
    two.name = "two";
    one.metadata = new Map([["of", "one"]]);
    expect([one.name, two.name, two.metadata.size]).toEqual(["one", "two", 0]);
    range(one.id ?? 0).clear();
    expect([one.name, two.name]).toEqual(["", "two"]);
  });

  it("reads back every field that is set, and nothing of one that is taken away", () => {
    const data = newProgram();
    const whole = kernel({ btfId: 9, verifiedInstructions: 4_000_000_000 });
    data.kernel = whole;
    data.mapOwner = 17;
    data.mapsUsedBy = [17, 3, 12];
    data.attachPoints = ["sched/sched_switch"];
    data.links = [{ id: 9, type: "xdp", target: "lo" }];
    expect(data.kernel).toEqual(whole);
    expect([data.mapOwner, data.mapsUsedBy, data.attachPoints, data.links]).toEqual([
      17,
      [17, 3, 12],
      ["sched/sched_switch"],
      [{ id: 9, type: "xdp", target: "lo" }],
    ]);
    data.kernel = undefined;
    data.mapOwner = undefined;
    data.mapsUsedBy = [];
    data.attachPoints = [];
    data.links = [];
    expect(data.kernel).toBeUndefined();
    expect(rows(data)).toBe(0);
  });

  it("is the same read at once, and a write meanwhile is seen", () => {
    const data = newProgram();
    data.name = "once";
    data.kernel = kernel({ mapIds: [9, 8], btfId: 4 });
    data.metadata = new Map([
      ["ÿ", "1"],
      ["a\0b", "2"],
      ["", "3"],
    ]);
    const all = () => [data.name, data.kernel, [...data.metadata], data.mapsUsedBy, data.mapOwner];
    expect(data.atOnce(all)).toEqual(all());
    const written = data.atOnce(() => {
      const before = data.name;
      data.name = "written";
      data.mapsUsedBy = [1];
      return [before, data.name, data.mapsUsedBy];
    });
    expect(written).toEqual(["once", "written", [1]]);
  });

  it("says that it is damaged when a value has changed its bytes", () => {
    const data = newProgram();
    data.name = "damaged";
    const key = Buffer.concat([programPrefix(boot, data.id ?? 0), Buffer.from("name")]);
    environment.commit(() => environment.tree("programs").put(key, Buffer.from("\u0001....damagee")));
    expect(() => data.name).toThrow(expect.objectContaining({ code: "CACHE_CORRUPT" }));
  });
});

function rows(data: ProgramData): number {
  return range(data.id ?? 0).keys().length;
}

/** A kernel program without BTF and without verified instructions has ten scalars. */
function rowsWith({ mapIds }: { mapIds: number }): number {
  return 10 + mapIds;
}

function kernel(some: Partial<KernelProgram>): KernelProgram {
  return {
    id: 5,
    name: "program",
    type: "xdp",
    tag: "00e9a952b344bf52",
    loadedAt: 1_800_000_000,
    isGplCompatible: true,
    btfId: undefined,
    bytesTranslated: 176,
    isJited: true,
    bytesJited: 108,
    bytesMemlock: 4_096,
    mapIds: [],
    verifiedInstructions: undefined,
    ...some,
  };
}
