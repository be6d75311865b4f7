import { channel, tracingChannel } from "node:diagnostics_channel";
import { describe, expect, it } from "vitest";
import type { CallContext } from "../../src/core/channels.js";
import type { CacheEvent } from "../../src/core/events.js";
import { openReader } from "../../src/reader.js";
import { afterThisTest, failureOf, imageNamed, openTestCache, startRegistry } from "../pull/support.js";

/** All that a channel publishes until the test is over. */
function listen(name: string): CacheEvent[] {
  const heard: CacheEvent[] = [];
  const listener = (message: unknown): void => void heard.push(message as CacheEvent);
  channel(name).subscribe(listener);
  afterThisTest(() => channel(name).unsubscribe(listener));
  return heard;
}

/** What a call's channels publish, as "start pull". */
function trace(name: string): { readonly steps: string[]; readonly contexts: CallContext[] } {
  const steps: string[] = [];
  const contexts: CallContext[] = [];
  const note = (step: string) => (context: CallContext) => {
    steps.push(`${step} ${context.call}`);
    contexts.push(context);
  };
  const subscribers = {
    start: note("start"),
    end: note("end"),
    asyncStart: note("asyncStart"),
    asyncEnd: note("asyncEnd"),
    error: note("error"),
  };
  const traced = tracingChannel<unknown, CallContext>(name);
  traced.subscribe(subscribers);
  afterThisTest(() => traced.unsubscribe(subscribers));
  return { steps, contexts };
}

describe("diagnostics channels", () => {
  it("tell of misses, requests, publications and hits, under bpfcache: and the event's name", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const reference = registry.reference("org/prog:v1");
    const cache = await openTestCache();
    const [hits, misses, requests] = [
      listen("bpfcache:hit"),
      listen("bpfcache:miss"),
      listen("bpfcache:request"),
    ];
    const published = listen("bpfcache:published");
    await cache.pull(reference);
    await cache.pull(reference);
    expect(misses).toMatchObject([{ v: 1, event: "miss", reference, reason: "absent" }]);
    expect(requests).toHaveLength(registry.requests.length);
    expect(published).toMatchObject([{ event: "published", reference }]);
    expect(hits).toMatchObject([{ v: 1, event: "hit", reference, reason: "fresh" }]);
  });

  it("tell of what loaders read", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const reference = registry.reference("org/prog:v1");
    const cache = await openTestCache();
    const { objects } = await cache.pull(reference, { platform: "linux/amd64" });
    const reads = listen("bpfcache:read");
    using reader = openReader({ directory: cache.directory });
    reader.bytecode(reference, { platform: "linux/amd64" });
    reader.withBytecode(reference, () => {}, { platform: "linux/amd64" });
    const read = { event: "read", reference, digest: objects[0]?.digest, bytes: objects[0]?.size };
    expect(reads).toMatchObject([read, read]);
  });

  it("trace a call from its start to its result", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const reference = registry.reference("org/prog:v1");
    const cache = await openTestCache();
    const { steps, contexts } = trace("bpfcache:pull");
    const image = await cache.pull(reference);
    expect(steps).toEqual(["start pull", "end pull", "asyncStart pull", "asyncEnd pull"]);
    expect(contexts.at(-1)).toEqual({
      call: "pull",
      directory: cache.directory,
      references: [reference],
      result: image,
    });
  });

  it("trace a failure", async () => {
    const registry = await startRegistry();
    const cache = await openTestCache();
    const { steps, contexts } = trace("bpfcache:pull");
    const failure = await failureOf(cache.pull(registry.reference("org/none:v1")));
    expect(steps).toContain("error pull");
    expect(contexts.at(-1)?.error).toMatchObject({ code: failure.code });
  });

  it("trace each image of a batch", async () => {
    const registry = await startRegistry();
    const names = ["one", "two"];
    for (const name of names) registry.add(`org/${name}:v1`, imageNamed(name));
    const references = names.map((name) => registry.reference(`org/${name}:v1`));
    const cache = await openTestCache();
    const [batch, each] = [trace("bpfcache:prefetch"), trace("bpfcache:pull")];
    await cache.prefetch(references);
    expect(batch.contexts[0]).toMatchObject({ call: "prefetch", references });
    expect(each.steps.filter((step) => step === "start pull")).toHaveLength(2);
  });
});
