import { toBpfcacheError } from "../../core/errors.js";
import { parseContentRange, parseUnsatisfiedRange } from "./content-range.js";
import { RegistryFailure } from "./failure.js";
import { contentLength, header } from "./headers.js";
import type { RegistryClient, RegistryRequest } from "./registry-client.js";
import type { Retries } from "./retries.js";
import type { Answer, Call } from "./transport.js";

/** A part of a blob, and how many of its first bytes the reader has seen already. */
interface Part {
  readonly answer: Answer;
  readonly seen: number;
}

/** Less than this between two breaks is no progress: a server must not keep us busy with a byte at a time. */
const leastProgress = 16 * 1024;

/**
 * One blob as a stream of at most `size + 1` bytes. When the connection breaks, the rest is asked for from the
 * registry again, not from where it had sent us: signed URLs expire. A server that will not resume starts over, and
 * what the reader has already seen is skipped. Nothing here is verified; the reader's digest check catches every lie.
 */
export class ResumableBlob implements AsyncIterable<Uint8Array> {
  #first: Answer | undefined;
  #etag: string | undefined;
  #received = 0;
  #breaks = 0;
  #hasRanges = true;

  constructor(
    private readonly client: RegistryClient,
    private readonly retries: Retries,
    private readonly request: RegistryRequest,
    private readonly size: number,
    private readonly call: Call,
  ) {}

  /** Sends the first request, so that what is missing or forbidden is known before anybody reads. */
  async open(): Promise<void> {
    this.#first = await this.#whole();
    this.#etag = strongEtag(this.#first);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.chunks();
    } catch (error) {
      throw toBpfcacheError(error).about(this.call.reference);
    }
  }

  /** The stream, with failures as the client knows them. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    let part = this.#first === undefined ? undefined : { answer: this.#first, seen: 0 };
    this.#first = undefined;
    while (part !== undefined) {
      const before = this.#received;
      const broken = yield* this.#read(part);
      part = await this.#next(part.answer, broken, this.#received - before);
    }
  }

  /** Hands on what is new in a part; returns what broke it off, or undefined when it came to its end. */
  async *#read(part: Part): AsyncGenerator<Uint8Array, RegistryFailure | undefined, undefined> {
    let seen = part.seen;
    try {
      for await (const chunk of part.answer.bytes()) {
        const fresh = chunk.subarray(seen).subarray(0, this.size + 1 - this.#received);
        seen = Math.max(0, seen - chunk.byteLength);
        this.#received += fresh.byteLength;
        if (fresh.byteLength > 0) yield fresh;
        if (this.#received > this.size) return undefined;
      }
      return undefined;
    } catch (error) {
      if (error instanceof RegistryFailure && error.retryable) return error;
      throw error;
    }
  }

  async #next(
    last: Answer,
    broken: RegistryFailure | undefined,
    progress: number,
  ): Promise<Part | undefined> {
    if (this.#received >= this.size) return undefined;
    if (broken === undefined) {
      // An end without a length may be a break nobody noticed, and a server may give less than the range asked for.
      const mayBeShort = last.status === 206 || contentLength(last.headers) === undefined;
      return mayBeShort && progress > 0 ? await this.#rest() : undefined;
    }
    this.#breaks = progress >= leastProgress ? 0 : this.#breaks + 1;
    await this.retries.wait(broken, this.#breaks, this.request.endpoint.networkHost, this.call);
    return await this.#rest();
  }

  /** Asks for what is missing, or for everything where ranges do not work; undefined when nothing is missing. */
  async #rest(): Promise<Part | undefined> {
    if (this.#received === 0 || !this.#hasRanges)
      return { answer: await this.#whole(), seen: this.#received };
    const answer = await this.client.perform(this.#rangeRequest(), this.call, async (found) => found);
    if (answer.status === 200) return { answer, seen: this.#received };
    if (answer.status === 206 && this.#isTheRest(answer)) return { answer, seen: 0 };
    await answer.discard();
    const total = parseUnsatisfiedRange(header(answer.headers, "content-range"));
    if (answer.status === 416 && total === this.#received) return undefined;
    this.#hasRanges = false;
    return { answer: await this.#whole(), seen: this.#received };
  }

  async #whole(): Promise<Answer> {
    return await this.client.perform(this.request, this.call, async (answer) => answer);
  }

  #rangeRequest(): RegistryRequest {
    const ifMatch: Record<string, string> = this.#etag === undefined ? {} : { "if-match": this.#etag };
    return {
      ...this.request,
      headers: { ...this.request.headers, range: `bytes=${this.#received}-`, ...ifMatch },
      accepts: [200, 206, 412, 416],
    };
  }

  /** A 206 is believed only when it says that it begins where we stopped, in a blob of the size we know. */
  #isTheRest(answer: Answer): boolean {
    const range = parseContentRange(header(answer.headers, "content-range"));
    if (range === undefined || range.first !== this.#received) return false;
    return range.total === undefined || range.total === this.size;
  }
}

/** If-Match compares strongly (RFC 9110, section 13.1.1); a weak tag would never match. */
function strongEtag(answer: Answer): string | undefined {
  const etag = header(answer.headers, "etag");
  return etag?.startsWith('"') === true ? etag : undefined;
}
