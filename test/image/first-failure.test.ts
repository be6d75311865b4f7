import { describe, expect, test } from "vitest";
import { parseImageConfig } from "../../src/image/config.js";
import { parseManifest } from "../../src/image/manifest.js";

const digest = `sha256:${"a".repeat(64)}`;
const descriptor = { mediaType: "text/plain", digest, size: 1 };
const wrong = (count: number): number[] => new Array<number>(count).fill(1);
const named = (count: number): Record<string, number> =>
  Object.fromEntries(wrong(count).map((value, index) => [`name${index}`, value]));

// As zod has it, the first of these took two seconds and a gigabyte, and ended in "Maximum call stack size exceeded".
describe("a document that is wrong in very many places is refused as INVALID_IMAGE by the first of them", () => {
  const index = (rest: object): object => ({ schemaVersion: 2, manifests: [], ...rest });

  test.each<[what: string, document: object, message: RegExp]>([
    [
      "urls that are no strings",
      index({ manifests: [{ ...descriptor, urls: wrong(1_000_000) }] }),
      /at manifests\.0\.urls: not an array of strings/,
    ],
    [
      "annotations that are no strings",
      index({ annotations: named(200_000) }),
      /at annotations: not an object/,
    ],
    [
      "descriptors that are none",
      index({ manifests: new Array(10_000).fill({ ...descriptor, size: "1" }) }),
      /at manifests\.0\.size/,
    ],
    ["more manifests than anyone has", index({ manifests: wrong(1_000_000) }), /at manifests/],
  ])("%s", (_, document, message) => {
    const bytes = Buffer.from(JSON.stringify(document));
    expect(() => parseManifest(bytes, "")).toThrow(message);
    expect(() => parseManifest(bytes, "")).toThrow(expect.objectContaining({ code: "INVALID_IMAGE" }));
  });

  test.each<[what: string, document: object]>([
    ["labels", { config: { Labels: named(200_000) } }],
    ["diff_ids", { rootfs: { diff_ids: wrong(1_000_000) } }],
  ])("an image config's %s", (_, document) => {
    const bytes = Buffer.from(JSON.stringify(document));
    expect(() => parseImageConfig(bytes)).toThrow(expect.objectContaining({ code: "INVALID_IMAGE" }));
  });
});
