import { describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { bytecodeImage, type TestImage } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushOverHttp } from "./images.js";
import { type Exchange, type Refusal, ReverseProxy } from "./reverse-proxy.js";

interface Refused {
  readonly exchange: Exchange;
  readonly retryAfterMs: number;
}

/**
 * Refuses every third request with 429, but no path that it has refused before: then it waits for the next other one.
 * One refusal in twenty asks for a second, which is more than a client waits by itself; the others for a moment.
 */
class RateLimit {
  readonly refused = new Map<string, Refused>();
  #sinceRefusal = 0;

  refuse(exchange: Exchange): Refusal | undefined {
    this.#sinceRefusal += 1;
    if (this.#sinceRefusal < 3 || this.refused.has(exchange.path)) return undefined;
    this.#sinceRefusal = 0;
    const retryAfterMs = this.refused.size % 20 === 0 ? 1_000 : 10;
    this.refused.set(exchange.path, { exchange, retryAfterMs });
    return { status: 429, headers: { "retry-after": String(retryAfterMs / 1_000) } };
  }
}

/** Two hundred images of twenty programs, each in a repository of its own, like the same program for many releases. */
function imagesToPrefetch(): Map<string, TestImage> {
  const programs = Array.from({ length: 20 }, (_, index) => imageNamed(`program_${index}`));
  const images = programs.flatMap(({ layers }, program) =>
    Array.from({ length: 10 }, (_, release) => {
      const annotations = { release: `${release}` };
      return [`org/program-${program}-${release}`, bytecodeImage({ layers, annotations })] as const;
    }),
  );
  return new Map(images);
}

const missing = requireTools("docker-registry");
describe.skipIf(missing)(`a docker-registry that answers 429 to every third request${missing ?? ""}`, () => {
  it("has 200 images prefetched, each thing asked for once, and once more after the wait if refused", async () => {
    const limit = new RateLimit();
    await using registry = await DockerRegistry.start();
    await using proxy = await ReverseProxy.start({ refuse: (exchange) => limit.refuse(exchange) });
    proxy.routes.set("/", registry.host);
    const images = imagesToPrefetch();
    const pushes = [...images].map(([name, image]) => pushOverHttp(registry.host, name, "v1", image));
    await Promise.all(pushes);

    await using cache = await openCache({ platform: "linux/amd64" });
    const references = [...images.keys()].map((name) => proxy.reference(`${name}:v1`));
    const { images: prefetched, failed } = await cache.prefetch(references);
    expect(failed).toEqual([]);
    expect(prefetched).toHaveLength(200);
    expect(limit.refused.size).toBeGreaterThan(references.length / 3);

    for (const [path, [first, second, ...more]] of byPath(proxy.exchanges)) {
      const refusal = limit.refused.get(path);
      expect([first?.status, second?.status, ...more], path).toEqual(
        refusal === undefined ? [200, undefined] : [429, 200],
      );
      if (refusal === undefined) continue;
      const { exchange, retryAfterMs } = refusal;
      expect(second?.startedAt, path).toBeGreaterThanOrEqual(exchange.endedAt + retryAfterMs);
    }
    // The wait is the host's, not the one thing's. What was on its way already has come after half of it.
    for (const { exchange, retryAfterMs } of limit.refused.values()) {
      if (retryAfterMs < 1_000) continue;
      const impatient = proxy.exchanges.filter(
        ({ startedAt }) =>
          startedAt > exchange.endedAt + retryAfterMs / 2 && startedAt < exchange.endedAt + retryAfterMs,
      );
      expect(impatient.map(({ path }) => path)).toEqual([]);
    }
  }, 60_000);
});

function byPath(exchanges: readonly Exchange[]): Map<string, Exchange[]> {
  const sorted = new Map<string, Exchange[]>();
  for (const exchange of exchanges)
    sorted.set(exchange.path, [...(sorted.get(exchange.path) ?? []), exchange]);
  return sorted;
}
