import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { prometheusText } from "../../src/serve/prometheus.js";
import { counterNames } from "../../src/store/counters.js";
import { bytecodeImage } from "../support/image-builder.js";
import { ServedCache } from "./served-cache.js";

interface Family {
  readonly type: string;
  readonly samples: Map<string, number>;
}

/** Reads Prometheus's text format, version 0.0.4, and takes nothing else. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let help: string | undefined;
  if (!text.endsWith("\n")) throw new Error("the last line must end in a line feed");
  for (const line of text.slice(0, -1).split("\n")) {
    const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line) ?? [];
    if (kind === "HELP") help = name;
    else if (kind === "TYPE") {
      if (help !== name || families.has(name) || !/^(counter|gauge)$/.test(rest)) throw new Error(line);
      families.set(name, { type: rest, samples: new Map() });
    } else {
      const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*"\})?) (\d+)$/.exec(
        line,
      );
      const family = families.get(sample?.[1] ?? "");
      if (sample === null || family === undefined || sample[1] !== help) throw new Error(line);
      if (family.samples.has(sample[2] ?? "")) throw new Error(`twice: ${line}`);
      family.samples.set(sample[2] ?? "", Number(sample[3]));
    }
  }
  return families;
}

describe("Prometheus's text", () => {
  const counters = Object.fromEntries(counterNames.map((name, i) => [name, i + 1])) as Parameters<
    typeof prometheusText
  >[0]["counters"];
  const gauges = { bytes: 1, fileBytes: 2, freeBytes: 3, maxBytes: 4, references: 5, images: 6, objects: 7 };
  const families = parse(prometheusText({ counters, ...gauges }));

  it("has every counter once, under a name that ends in _total", () => {
    const counted = [...families].filter(([, { type }]) => type === "counter");
    for (const [name] of counted) expect(name).toMatch(/^bpfcache_[a-z_]+_total$/);
    const values = counted.flatMap(([, { samples }]) => [...samples.values()]);
    expect(values.sort((a, b) => a - b)).toEqual(counterNames.map((_, i) => i + 1));
  });

  it("tells misses by their reason", () => {
    expect([...(families.get("bpfcache_misses_total")?.samples.keys() ?? [])]).toContain('{reason="absent"}');
  });

  it("has no budget where there is none", () => {
    const unlimited = parse(prometheusText({ counters, ...gauges, maxBytes: null }));
    expect(unlimited.has("bpfcache_max_bytes")).toBe(false);
    expect(families.get("bpfcache_max_bytes")?.samples.get("")).toBe(4);
  });
});

describe("/metrics", () => {
  let served: ServedCache;
  beforeAll(async () => {
    served = await ServedCache.start({ "registry.example/org/prog:v1": bytecodeImage() });
  });
  afterAll(() => served.close());

  const scrape = async (): Promise<Map<string, Family>> => {
    const response = await served.ask("/metrics");
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    return parse(await response.text());
  };

  it("has what is in the cache", async () => {
    const families = await scrape();
    expect(families.get("bpfcache_references")?.samples.get("")).toBe(1);
    expect(families.get("bpfcache_bytes")?.samples.get("")).toBe(served.cache.usage().bytes);
    expect(families.get("bpfcache_published_total")?.samples.get("")).toBe(1);
  });

  it("counts what is served", async () => {
    const before = await scrape();
    const body = await (await served.ask("/v2/registry.example/org/prog/manifests/v1")).arrayBuffer();
    const after = await scrape();
    const grown = (name: string): number =>
      (after.get(name)?.samples.get("") ?? 0) - (before.get(name)?.samples.get("") ?? 0);
    expect(grown("bpfcache_served_requests_total")).toBe(2); // the manifest, and the scrape before
    expect(grown("bpfcache_served_bytes_total")).toBeGreaterThan(body.byteLength);
  });
});
