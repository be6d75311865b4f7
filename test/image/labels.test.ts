import { describe, expect, it } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { programTypesAgree, readBytecodeLabels } from "../../src/image/labels.js";

function read(labels: Record<string, string>): ReturnType<typeof readBytecodeLabels> {
  return readBytecodeLabels(labels, defaultLimits);
}

describe("readBytecodeLabels", () => {
  it("reads the current generation", () => {
    const labels = read({
      "io.ebpf.programs": '{"xdp_stats":"xdp","tc_stats":"tc"}',
      "io.ebpf.maps": '{"xdp_stats_map":"per_cpu_array"}',
    });
    expect(labels?.programs).toEqual(
      new Map([
        ["xdp_stats", "xdp"],
        ["tc_stats", "tc"],
      ]),
    );
    expect(labels?.maps).toEqual(new Map([["xdp_stats_map", "per_cpu_array"]]));
  });

  it("needs only one of the two, and takes an empty one for none", () => {
    expect(read({ "io.ebpf.programs": '{"a":"xdp"}' })?.maps.size).toBe(0);
    expect(read({ "io.ebpf.programs": '{"a":"xdp"}', "io.ebpf.maps": "" })?.maps.size).toBe(0);
    expect(read({ "io.ebpf.maps": "{}" })?.programs.size).toBe(0);
  });

  it("reads the first generation", () => {
    const labels = read({
      "io.ebpf.program_name": "xdp_counter",
      "io.ebpf.bpf_function_name": "xdp_stats",
      "io.ebpf.program_type": "xdp",
      "io.ebpf.filename": "bpf_bpfel.o",
    });
    expect(labels).toEqual({
      programs: new Map([["xdp_stats", "xdp"]]),
      maps: new Map(),
      filename: "bpf_bpfel.o",
    });
  });

  it("the current generation wins when both are there", () => {
    const labels = read({ "io.ebpf.programs": '{"new":"xdp"}', "io.ebpf.bpf_function_name": "old" });
    expect([...(labels?.programs.keys() ?? [])]).toEqual(["new"]);
  });

  it("finds none in an ordinary image", () => {
    expect(read({ maintainer: "somebody" })).toBeUndefined();
  });

  it.each(["not json", "[]", '"xdp"', "null", '{"a":1}', '{"a":{"b":"c"}}'])("refuses %s", (value) => {
    expect(() => read({ "io.ebpf.programs": value })).toThrow(
      expect.objectContaining({ code: "INVALID_IMAGE" }),
    );
  });

  it("refuses a label over the limit", () => {
    const value = JSON.stringify({ ["a".repeat(defaultLimits.labelBytes)]: "xdp" });
    expect(() => read({ "io.ebpf.maps": value })).toThrow("longer than");
  });

  it("keeps more than ten names in order", () => {
    const names = Array.from({ length: 30 }, (_, i) => `program_${i}`);
    const labels = read({
      "io.ebpf.programs": JSON.stringify(Object.fromEntries(names.map((name) => [name, "xdp"]))),
    });
    expect([...(labels?.programs.keys() ?? [])]).toEqual(names);
  });
});

it.each([
  ["probe", "kretprobe", true],
  ["probe", "uprobe", true],
  ["tracing", "fentry", true],
  ["tc", "tcx", true],
  ["kprobe", "kprobe", true],
  ["xdp", "xdp", true],
  ["xdp", "tc", false],
  ["probe", "xdp", false],
  ["constructor", "xdp", false],
])("the label %s and the section's %s agree: %s", (labelled, found, agree) => {
  expect(programTypesAgree(labelled, found)).toBe(agree);
});
