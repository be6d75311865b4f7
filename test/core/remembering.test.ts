import { expect, it } from "vitest";
import { remembering } from "../../src/core/remembering.js";

it("answers as the function does, which it asks once for a text, and again when it has thrown", () => {
  const asked: string[] = [];
  const length = remembering((text) => {
    asked.push(text);
    if (text === "") throw new RangeError("empty");
    return text.length;
  });
  expect([length("one"), length("three"), length("one")]).toEqual([3, 5, 3]);
  for (let i = 0; i < 2; i++) expect(() => length("")).toThrow(RangeError);
  expect(asked).toEqual(["one", "three", "", ""]);
});

it("forgets what was asked long ago", () => {
  let asked = 0;
  const count = remembering(() => ++asked);
  expect(count("first")).toBe(1);
  for (let i = 0; i < 1_000; i++) count(String(i));
  expect(count("first")).toBeGreaterThan(1);
});
