import { AsyncLocalStorage } from "node:async_hooks";
import type { Attributes, Span, Tracer } from "@opentelemetry/api";
import type { CallContext } from "./core/channels.js";
import { toBpfcacheError } from "./core/errors.js";
import type { CacheEvent } from "./core/events.js";

type OpenTelemetry = typeof import("@opentelemetry/api");

/** What stands in a span as an event; requests are spans of their own, and the rest is too much or told by these. */
const toldEvents = new Set<CacheEvent["event"]>([
  "hit",
  "miss",
  "resolved",
  "published",
  "retry",
  "waiting",
  "evicted",
  "warning",
]);

/** Where the API, and every copy of it, keeps what a program has told it. */
const toldToApi = Symbol.for("opentelemetry.js.api.1");

/**
 * Spans for OpenTelemetry: one a call, with one a request below it. They go wherever the program that uses this package
 * has told the API to send them.
 */
export class Spans {
  readonly #api: OpenTelemetry;
  readonly #tracer: Tracer;
  /** The call under way. The API's own notion of it needs a context manager, which not every program registers. */
  readonly #current = new AsyncLocalStorage<Span>();

  private constructor(api: OpenTelemetry) {
    this.#api = api;
    this.#tracer = api.trace.getTracer("bpfcache");
  }

  /** Undefined where the API has been told nothing, or is not installed. It has fifty modules, so it is not loaded in vain. */
  static async load(): Promise<Spans | undefined> {
    if (!(toldToApi in globalThis)) return undefined;
    try {
      return new Spans(await import("@opentelemetry/api"));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND")
        return undefined;
      throw error;
    }
  }

  /** Runs `work` in a span named after the call. */
  async run<T>(call: CallContext, work: () => Promise<T>): Promise<T> {
    const { context, trace, SpanStatusCode } = this.#api;
    const span = this.#start(`bpfcache ${call.call}`, attributesOf(call));
    try {
      const inSpan = trace.setSpan(context.active(), span);
      // Where nobody records, events are not put into spans: no promise of the program need be tracked for that.
      const told = span.isRecording() ? () => this.#current.run(span, work) : work;
      const result = await context.with(inSpan, told);
      span.setAttributes(resultAttributes(result));
      return result;
    } catch (thrown) {
      const { code, message } = toBpfcacheError(thrown);
      span.setAttribute("error.type", code);
      span.setStatus({ code: SpanStatusCode.ERROR, message });
      throw thrown;
    } finally {
      span.end();
    }
  }

  /** Puts an event into the span of the call that it happens in. */
  note(event: CacheEvent): void {
    const span = this.#current.getStore();
    if (span?.isRecording() !== true) return;
    if (event.event === "request") this.#noteRequest(event);
    else if (toldEvents.has(event.event)) span.addEvent(event.event, eventAttributes(event));
  }

  #noteRequest({
    method,
    url,
    role,
    status,
    bytes,
    milliseconds,
  }: Extract<CacheEvent, { event: "request" }>): void {
    const { SpanKind, SpanStatusCode } = this.#api;
    const { hostname } = new URL(url);
    const ended = Date.now();
    // Names as OpenTelemetry's semantic conventions for HTTP clients have them.
    const attributes: Attributes = {
      "http.request.method": method,
      "url.full": url,
      "server.address": hostname,
      "http.response.body.size": bytes,
      "bpfcache.role": role,
      ...(status > 0 && { "http.response.status_code": status }),
    };
    const span = this.#start(method, attributes, { kind: SpanKind.CLIENT, startTime: ended - milliseconds });
    if (status === 0 || status >= 400) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(ended);
  }

  #start(name: string, attributes: Attributes, options: { kind?: number; startTime?: number } = {}): Span {
    const { context, trace } = this.#api;
    const parent = this.#current.getStore();
    const active = context.active();
    return this.#tracer.startSpan(
      name,
      { attributes, ...options },
      parent === undefined ? active : trace.setSpan(active, parent),
    );
  }
}

function attributesOf({ references, directory }: CallContext): Attributes {
  return { "bpfcache.directory": directory, "bpfcache.references": [...references] };
}

/** What a pull has to say, if it is one. */
function resultAttributes(result: unknown): Attributes {
  if (typeof result !== "object" || result === null) return {};
  return Object.fromEntries(
    Object.entries({
      "bpfcache.from": "from" in result && result.from,
      "bpfcache.root_digest": "rootDigest" in result && result.rootDigest,
      "bpfcache.bytes_fetched": "bytesFetched" in result && result.bytesFetched,
    }).filter(([, value]) => typeof value === "string" || typeof value === "number"),
  );
}

/** The members of an event that are values; what kind it is, its name says. */
function eventAttributes(event: CacheEvent): Attributes {
  const { v, time, event: kind, ...members } = event;
  return Object.fromEntries(
    Object.entries(members)
      .filter(([, value]) => typeof value !== "object")
      .map(([name, value]) => [`bpfcache.${name}`, value]),
  );
}
