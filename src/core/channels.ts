import { type Channel, channel, type TracingChannel, tracingChannel } from "node:diagnostics_channel";
import type { CacheEvent, CacheEventBody } from "./events.js";

// What node:diagnostics_channel tells of this package, for programs that want to know without being in the way:
//
// - `bpfcache:<event>`, such as bpfcache:hit or bpfcache:retry: the CacheEvent of that kind, of every cache of the process.
//   bpfcache:read is of loaders, which have no other ears.
// - `tracing:bpfcache:<call>:start` and so on, as `tracingChannel("bpfcache:pull")` subscribes to them: a CallContext,
//   which has `result` or `error` when the call has ended.
//
// Without subscribers neither costs more than a look whether there are some.

/** The calls of the library that take a while. `pull` is each image, also those that prefetch and seed take in. */
const callNames = ["pull", "prefetch", "seed", "export", "push", "scrub", "prune", "compact"] as const;

export type CallName = (typeof callNames)[number];

/** What a tracing channel hands on. */
export interface CallContext {
  readonly call: CallName;
  /** Of the cache. */
  readonly directory: string;
  /** What the call is about; several for a batch. */
  readonly references: readonly string[];
  /** What it returned. */
  result?: unknown;
  /** What it threw. */
  error?: unknown;
}

const eventChannels = new Map<CacheEvent["event"], Channel>();

function channelOf(kind: CacheEvent["event"]): Channel {
  const known = eventChannels.get(kind) ?? channel(`bpfcache:${kind}`);
  eventChannels.set(kind, known);
  return known;
}

export function publishEvent(event: CacheEvent): void {
  const events = channelOf(event.event);
  if (events.hasSubscribers) events.publish(event);
}

/** The same of an event that nobody else hears of: it is made only when somebody listens. */
export function publishOnly<K extends CacheEvent["event"]>(
  kind: K,
  body: () => Extract<CacheEventBody, { readonly event: K }>,
): void {
  const events = channelOf(kind);
  if (events.hasSubscribers) events.publish({ v: 1, time: new Date().toISOString(), ...body() });
}

const callChannels = Object.fromEntries(
  callNames.map((name) => [name, tracingChannel<unknown, CallContext>(`bpfcache:${name}`)]),
) as Record<CallName, TracingChannel<unknown, CallContext>>;

/** Runs `work`, and tells the call's channels of its beginning and its end. */
export function traceCall<T>(context: CallContext, work: () => Promise<T>): Promise<T> {
  const { start, end, asyncStart, asyncEnd, error } = callChannels[context.call];
  const isWatched = [start, end, asyncStart, asyncEnd, error].some(({ hasSubscribers }) => hasSubscribers);
  return isWatched ? callChannels[context.call].tracePromise(work, context) : work();
}
