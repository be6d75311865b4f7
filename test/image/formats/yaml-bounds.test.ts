import { describe, expect, test, vi } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { readGadgetMetadata } from "../../../src/image/formats/gadget-metadata.js";

const read = (text: string): Promise<unknown> => readGadgetMetadata(Buffer.from(text), defaultLimits);

describe("a gadget's metadata nested without end is refused, and does not end the process", () => {
  test.each([
    ["in brackets", (depth: number) => `a: ${"[".repeat(depth)}${"]".repeat(depth)}`],
    ["in brackets that are never closed", (depth: number) => `a: ${"[".repeat(depth)}`],
    ["in braces", (depth: number) => `a: ${"{a: ".repeat(depth)}1${"}".repeat(depth)}`],
    ["in dashes", (depth: number) => `a:\n  ${"- ".repeat(depth)}1`],
    ["in question marks", (depth: number) => `${"? ".repeat(depth)}1`],
    [
      "by indentation",
      (depth: number) =>
        Array.from({ length: Math.min(depth, 300) }, (_, level) => `${" ".repeat(level)}a:\n`).join(""),
    ],
  ])("%s", async (_, nested) => {
    await expect(read(nested(15_000))).rejects.toThrow(expect.objectContaining({ code: "INVALID_IMAGE" }));
  });

  test("nor is one of very many parts parsed for a fraction of a second", async () => {
    await expect(read(`a: [${"1,".repeat(20_000)}1]`)).rejects.toThrow(
      expect.objectContaining({ code: "INVALID_IMAGE" }),
    );
  });

  test("nor does what is odd in it reach standard error", async () => {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    await read("? [a, b]\n: c");
    expect(warned).not.toHaveBeenCalled();
    warned.mockRestore();
  });

  test("and what gadgets have is read", async () => {
    const levels = 20;
    const text = Array.from({ length: levels }, (_, level) => `${"  ".repeat(level)}a:\n`).join("");
    expect(JSON.stringify(await read(text)).match(/"a"/g)).toHaveLength(levels);
  });
});
