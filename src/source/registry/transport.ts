import type { IncomingHttpHeaders } from "node:http";
import { type Dispatcher, request as send } from "undici";
import { throwIfAborted } from "../../core/errors.js";
import { type EventSink, emit, type RequestRole } from "../../core/events.js";
import type { Limits } from "../../core/limits.js";
import type { ConnectionSettings } from "../locations/location.js";
import { isReservedHost } from "./addresses.js";
import { type Dispatchers, reservedAddressFailure } from "./dispatchers.js";
import { RegistryFailure } from "./failure.js";
import type { ResponseHeaders } from "./headers.js";
import { networkFailure } from "./network-failure.js";
import { redactUrl } from "./redact.js";

/** On whose behalf requests are sent: the caller's signal and ears. */
export interface Call {
  readonly reference: string;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
  readonly onRequest?: (() => void) | undefined;
  /** How long to bear with failures; as long as the limits allow unless given. */
  readonly patience?: Patience | undefined;
  /** Whether the place that is asked is a mirror. */
  readonly isOfMirror?: boolean | undefined;
}

/** For a place that is not the only one: better to go on to the next than to insist. */
export interface Patience {
  readonly retries: number;
  /** The longest wait that a server may ask for. */
  readonly longestWaitMs: number;
}

/** The registry a request is made for. What is not of its origin was chosen by it, not by the user. */
export interface Home {
  readonly origin: string;
  readonly isLocal: boolean;
  /** Sent to this origin only, with every request, those for tokens too. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How to connect to this origin; to others it is of no concern. */
  readonly connection?: ConnectionSettings | undefined;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly home: Home;
  /** Set for what asks a token service and not the registry. */
  readonly isForToken?: boolean;
}

/** The one place that sends a request. It knows nothing of registries: no retry, no redirect, no authentication. */
export class Transport {
  readonly #dispatchers: Dispatchers;
  readonly #limits: Limits;

  constructor(dispatchers: Dispatchers, limits: Limits) {
    this.#dispatchers = dispatchers;
    this.#limits = limits;
  }

  /** Throws UNREACHABLE when no answer comes, INTERRUPTED when the call is aborted. Any status is an answer. */
  async send(request: HttpRequest, call: Call): Promise<Answer> {
    throwIfAborted(call.signal);
    const { method, url, home } = request;
    const isHome = url.origin === home.origin;
    const isGuarded = !home.isLocal && !isHome;
    if (isGuarded && isReservedHost(url.hostname)) throw reservedAddressFailure(url.host);
    const dispatcher = this.#dispatchers.for(url, isGuarded, isHome ? home.connection : undefined);
    const started = performance.now();
    const finished = (status: number, bytes: number) =>
      emit(call.onEvent, {
        event: "request",
        reference: call.reference,
        role: roleOf(request, call, isHome),
        method,
        url: redactUrl(url),
        status,
        bytes,
        milliseconds: Math.round(performance.now() - started),
      });
    call.onRequest?.();
    try {
      const response = await send(url, {
        dispatcher,
        method,
        // identity: a digest is over the bytes as stored, and decoding chains are an attack (CVE-2026-22036).
        headers: {
          "user-agent": "bpfcache",
          ...(isHome ? home.headers : {}),
          "accept-encoding": "identity",
          ...request.headers,
        },
        body: request.body ?? null,
        signal: call.signal ?? null,
        headersTimeout: this.#limits.headersTimeoutMs,
        bodyTimeout: this.#limits.bodyTimeoutMs,
        // undici gives a connection up after HEAD unless told not to.
        reset: false,
      });
      return new Answer(url, response, call.signal, (bytes) => finished(response.statusCode, bytes));
    } catch (error) {
      finished(0, 0);
      throw networkFailure(error, url, call.signal);
    }
  }

  /** See `Dispatchers`. */
  expectBusy(host: string): void {
    this.#dispatchers.expectBusy(host);
  }

  async close(): Promise<void> {
    await this.#dispatchers.close();
  }
}

function roleOf({ isForToken }: HttpRequest, { isOfMirror }: Call, isHome: boolean): RequestRole {
  if (isForToken === true) return "token";
  if (!isHome) return "redirect";
  return isOfMirror === true ? "mirror" : "registry";
}

/** A response whose body has yet to be read. Read it, `discard` it, or its connection stays taken. */
export class Answer {
  readonly status: number;
  readonly headers: ResponseHeaders;
  readonly #body: Dispatcher.ResponseData["body"];
  readonly #finished: (bytes: number) => void;
  #kept: Uint8Array | undefined;

  constructor(
    /** Where it came from, after redirects. */
    readonly url: URL,
    response: Dispatcher.ResponseData,
    readonly signal: AbortSignal | undefined,
    finished: (bytes: number) => void,
  ) {
    this.status = response.statusCode;
    this.headers = response.headers satisfies IncomingHttpHeaders;
    this.#body = response.body;
    this.#finished = finished;
  }

  /** The body, once. Throws like `Transport.send`. Ending the iteration early breaks the connection. */
  async *bytes(): AsyncGenerator<Uint8Array, void, undefined> {
    let count = 0;
    try {
      for await (const chunk of this.#body as AsyncIterable<Uint8Array>) {
        count += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      throw networkFailure(error, this.url, this.signal);
    } finally {
      this.#finished(count);
    }
  }

  /** Reads at most `maxBytes`; undefined when there are more. */
  async readAll(maxBytes: number): Promise<Uint8Array | undefined> {
    const chunks: Uint8Array[] = [];
    let count = 0;
    for await (const chunk of this.bytes()) {
      count += chunk.byteLength;
      if (count > maxBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /**
   * Reads the beginning of an error body and lets the connection go; any time again it returns the same. A body that
   * breaks off is no second failure: what came before may still tell something.
   */
  async keepBeginning(maxBytes: number): Promise<Uint8Array> {
    if (this.#kept !== undefined) return this.#kept;
    const chunks: Uint8Array[] = [];
    let missing = maxBytes;
    try {
      for await (const chunk of this.bytes()) {
        chunks.push(chunk.subarray(0, missing));
        missing -= chunk.byteLength;
        if (missing <= 0) break;
      }
    } catch (error) {
      throwIfAborted(this.signal);
      if (!(error instanceof RegistryFailure)) throw error;
    }
    this.#kept = Buffer.concat(chunks);
    return this.#kept;
  }

  /** Throws the body away, keeping the connection when the rest is short enough to read. Never throws. */
  async discard(): Promise<void> {
    await this.#body.dump({ limit: 64 * 1024 }).catch(() => undefined);
    this.#finished(0);
  }
}
