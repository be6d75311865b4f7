import type { CounterName } from "../store/counters.js";
import type { Metrics } from "../store/metrics.js";

/** A counter as Prometheus has it; those that differ in what comes after a dot are one, with a label. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly counter: string;
  /** What the part after the dot is called. */
  readonly label?: string;
}

const counterFamilies: readonly Family[] = [
  { name: "hits", counter: "hits", help: "Pulls that the cache answered by itself." },
  {
    name: "misses",
    counter: "misses",
    label: "reason",
    help: "Pulls that had to ask the source, by why the cache could not answer.",
  },
  { name: "unchanged", counter: "unchanged", help: "Times that the source confirmed what was here." },
  { name: "published", counter: "published", help: "Times that a reference came to mean an image." },
  {
    name: "pull_failures",
    counter: "failures",
    label: "code",
    help: "Pulls that failed, by error code.",
  },
  {
    name: "requests",
    counter: "requests",
    help: "HTTP requests sent to registries, mirrors and token services.",
  },
  {
    name: "fetched_bytes",
    counter: "fetchedBytes",
    help: "Bytes of manifests, configs and layers that came whole from sources.",
  },
  {
    name: "retries",
    counter: "retries",
    help: "Times that something was asked for again, or of another place.",
  },
  { name: "waits", counter: "waits", help: "Waits of more than a second for another process's download." },
  { name: "evictions", counter: "evictions", help: "References removed to keep the budget." },
  { name: "evicted_bytes", counter: "evictedBytes", help: "Bytes freed by evictions." },
  {
    name: "verify_failures",
    counter: "verifyFailures",
    label: "what",
    help: "Checks that failed: of what a source sent, of a signature, of what was read from the cache.",
  },
  {
    name: "reads",
    counter: "reads",
    help: "Objects read by processes that may write; loaders count nothing.",
  },
  {
    name: "served_requests",
    counter: "servedRequests",
    help: "Requests answered by the registry over the cache.",
  },
  { name: "served_bytes", counter: "servedBytes", help: "Bytes of the bodies it answered with." },
];

const gauges: readonly { name: string; help: string; read: (metrics: Metrics) => number | null }[] = [
  { name: "bytes", help: "Content of the cache, each part once.", read: ({ bytes }) => bytes },
  { name: "max_bytes", help: "The budget of the cache.", read: ({ maxBytes }) => maxBytes },
  { name: "file_bytes", help: "The database's file.", read: ({ fileBytes }) => fileBytes },
  { name: "free_bytes", help: "The part of it that is free.", read: ({ freeBytes }) => freeBytes },
  {
    name: "references",
    help: "Cached references, on each platform.",
    read: ({ references }) => references,
  },
  { name: "images", help: "Cached images.", read: ({ images }) => images },
  { name: "objects", help: "Cached eBPF objects.", read: ({ objects }) => objects },
];

/** Prometheus, "Exposition formats", text-based format. */
export const prometheusType = "text/plain; version=0.0.4; charset=utf-8";

/** Metrics as Prometheus scrapes them. */
export function prometheusText(metrics: Metrics): string {
  const counters = counterFamilies.map(({ name, help, counter, label }) =>
    family(`bpfcache_${name}_total`, "counter", help, samplesOf(metrics.counters, counter, label)),
  );
  const current = gauges.flatMap(({ name, help, read }) => {
    const value = read(metrics);
    return value === null ? [] : [family(`bpfcache_${name}`, "gauge", help, [{ labels: "", value }])];
  });
  return [...counters, ...current].join("");
}

interface Sample {
  readonly labels: string;
  readonly value: number;
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(({ labels, value }) => `${name}${labels} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

/** The names behind the dot are words of this program: nothing in them needs to be escaped. */
function samplesOf(counters: Metrics["counters"], counter: string, label: string | undefined): Sample[] {
  if (label === undefined) return [{ labels: "", value: counters[counter as CounterName] }];
  return Object.entries(counters)
    .filter(([name]) => name.startsWith(`${counter}.`))
    .map(([name, value]) => ({ labels: `{${label}="${name.slice(counter.length + 1)}"}`, value }));
}
