import { describe, expect, it } from "vitest";
import { failureOf, openTestCache, rowsIn, startRegistry, temporaryDirectory } from "../../pull/support.js";
import { bpfmanLabels, bytecodeImage, imageIndex, writeLayout } from "../../support/image-builder.js";

const lying = bytecodeImage({ labels: bpfmanLabels({ gone: "xdp" }) });
const warning = "the label names a program gone that no object has";

async function serveLying() {
  const registry = await startRegistry();
  registry.add("org/lying:v1", lying);
  registry.add("org/lying:v2", imageIndex([{ image: lying }]));
  return registry;
}

describe("an image whose labels contradict its objects", () => {
  it("is a warning, kept for inspect", async () => {
    const registry = await serveLying();
    const messages: string[] = [];
    const cache = await openTestCache({
      onEvent: (event) => (event.event === "warning" ? messages.push(event.message) : undefined),
    });
    const reference = registry.reference("org/lying:v1");
    await cache.pull(reference);
    expect([messages, cache.inspect(reference).warnings]).toEqual([[warning], [warning]]);
  });

  it("is refused when strict, and nothing is written", async () => {
    const registry = await serveLying();
    const cache = await openTestCache();
    const failure = await failureOf(cache.pull(registry.reference("org/lying:v1"), { strict: true }));
    expect([failure.code, failure.found]).toEqual(["INVALID_IMAGE", warning]);
    await cache.close();
    expect(rowsIn(cache.directory)).toEqual({});
  });

  it.each([
    ["found here", "v1", "IfNotPresent"],
    ["found here offline", "v1", "Never"],
    ["unchanged at the registry", "v1", "Always"],
    ["here under another name", "v2", "IfNotPresent"],
  ] as const)("is refused when strict and %s", async (_, tag, pullPolicy) => {
    const registry = await serveLying();
    const cache = await openTestCache();
    await cache.pull(registry.reference("org/lying:v1"));
    const reference = registry.reference(`org/lying:${tag}`);
    const failure = await failureOf(cache.pull(reference, { strict: true, pullPolicy }));
    expect([failure.code, failure.reference]).toEqual(["INVALID_IMAGE", reference]);
    expect(cache.list().map((image) => image.reference)).toEqual([registry.reference("org/lying:v1")]);
  });

  it("does not fail those who pull it at the same time and are not strict", async () => {
    const registry = await serveLying();
    const cache = await openTestCache();
    const reference = registry.reference("org/lying:v1");
    const [strict, other] = await Promise.allSettled([
      cache.pull(reference, { strict: true }),
      cache.pull(reference),
    ]);
    expect([strict.status, other.status]).toEqual(["rejected", "fulfilled"]);
  });

  it("is one failure among many in prefetch and seed", async () => {
    const registry = await serveLying();
    registry.add("org/good:v1", bytecodeImage());
    const layout = `${temporaryDirectory()}/layout`;
    writeLayout(layout, [
      { name: "example.org/lying:v1", root: lying },
      { name: "example.org/good:v1", root: bytecodeImage() },
    ]);
    const cache = await openTestCache();
    const references = ["org/lying:v1", "org/good:v1"].map((name) => registry.reference(name));
    for (const { images, failed } of [
      await cache.prefetch(references, { strict: true }),
      await cache.seed([layout], { strict: true }),
    ]) {
      expect(images).toHaveLength(1);
      expect(failed.map(({ code }) => code)).toEqual(["INVALID_IMAGE"]);
    }
  });
});
