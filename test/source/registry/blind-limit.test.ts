import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../../src/open-cache.js";
import { bytecodeImage, minimalBpfElf } from "../../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../../support/test-registry.js";

/** Refuses every third request, whatever it asks for and however often it has refused that before. */
describe("a registry that answers 429 to every third request", () => {
  let registry: TestRegistry;

  beforeAll(async () => {
    registry = await startTestRegistry();
  });

  afterAll(() => registry.close());

  it("gives all of 200 images, each thing asked for twice at most", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `org/prog-${i}`);
    for (const name of names) {
      const bytes = minimalBpfElf({ programs: [{ name: name.replace(/\W/g, "_") }] });
      registry.add(`${name}:v1`, bytecodeImage({ objects: [{ path: "prog.o", bytes }] }));
    }
    registry.break({ every: 3 }, { status: 429, headers: { "retry-after": "0.01" } });
    const cache = await openCache({
      platform: "linux/amd64",
      registryConfig: { registriesConf: "/dev/null", hostsDirectory: import.meta.dirname },
    });
    const { images, failed } = await cache.prefetch(names.map((name) => registry.reference(`${name}:v1`)));
    await cache.close();
    expect(failed).toEqual([]);
    expect(images).toHaveLength(200);
    const times = new Map<string, number>();
    for (const { path } of registry.requests) times.set(path, (times.get(path) ?? 0) + 1);
    expect(times.size).toBe(600);
    expect([...times].filter(([, count]) => count > 2)).toEqual([]);
  }, 120_000);
});
