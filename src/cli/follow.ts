import type { BytecodeCache } from "../cache.js";
import { BpfcacheError, type ErrorCode, toBpfcacheError } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { PulledImage } from "../options.js";
import type { BatchResult } from "../pull/batch.js";
import { follow, type Round } from "../pull/follow.js";
import type { ListedImage } from "../pull/image-list.js";
import { describeBatch } from "./describe.js";
import { listedImages, prefetch, writeLock } from "./prefetch.js";
import { ServiceManager } from "./service-manager.js";
import { parseDuration } from "./settings.js";
import { Tally } from "./terminal/tally.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

/**
 * Keeps a list fresh until SIGINT or SIGTERM, which is how it ends well: files are read again each round, tags are asked
 * about with conditional requests, and what an image was is readable until what it is now is complete. No failure of a
 * round ends it.
 */
export async function followList(context: VerbContext, interval: string): Promise<void> {
  const intervalMs = parseInterval(interval);
  requireRepeatable(context);
  const { output, onEvent, signal } = context;
  const manager = new ServiceManager(onEvent);
  const rounds = { tally: new Tally() };
  const counting: EventSink = (event) => {
    rounds.tally.count(event);
    onEvent(event);
  };
  await withCache({ ...context, onEvent: counting }, async (cache) => {
    const follower = new Follower(cache, context, rounds);
    const onWaiting = async (nextMs: number): Promise<void> => {
      const { images, changed, failed } = follower;
      emit(onEvent, { event: "followed", images, changed, failed, nextMs });
      const seconds = Math.round(nextMs / 1_000);
      await manager.tell(`${images} cached, ${failed} failed; the next round is in ${seconds} s`);
    };
    await follow(() => follower.round(), { intervalMs, signal, onWaiting });
    await manager.tellStopping();
    if (output.isJson) output.result(follower.document, () => "");
  });
}

/** Failures that may pass by themselves: they are worth asking again before the interval is over. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "UNREACHABLE",
  "DIGEST_MISMATCH",
  "CACHE_BUSY",
  "CACHE_FULL",
  "TOOL_FAILED",
]);

/** The rounds of one list, and how the last one ended. */
class Follower {
  readonly #cache: BytecodeCache;
  readonly #context: VerbContext;
  /** With what the round under way adds up to. */
  readonly #current: { tally: Tally };
  #rounds = 0;
  #last: BatchResult<PulledImage> = { images: [], failed: [], lock: {} };

  constructor(cache: BytecodeCache, context: VerbContext, current: { tally: Tally }) {
    this.#cache = cache;
    this.#context = context;
    this.#current = current;
  }

  async round(): Promise<Round> {
    const { output, onEvent, signal } = this.#context;
    this.#rounds++;
    this.#current.tally = new Tally();
    try {
      const images = await listedImages(this.#context);
      const result = await prefetch(this.#cache, images.map(askedAnew), this.#context);
      // What was interrupted says nothing of the images.
      if (signal.aborted) return { isWorthRepeating: false };
      this.#last = result;
      if (!output.isJson) output.result(result, () => describeBatch(result, this.#current.tally));
      await writeLock(result, this.#context);
      return { isWorthRepeating: result.failed.some(({ code }) => passing.has(code)) };
    } catch (error) {
      const { message } = toBpfcacheError(error);
      if (!signal.aborted) emit(onEvent, { event: "warning", message: `this round failed: ${message}` });
      return { isWorthRepeating: true };
    }
  }

  get images(): number {
    return this.#last.images.length;
  }

  get changed(): number {
    return this.#last.images.filter(({ from }) => from !== "cache").length;
  }

  get failed(): number {
    return this.#last.failed.length;
  }

  /** What `prefetch --json` says, of the last round that came to its end, and how many there were. */
  get document(): BatchResult<PulledImage> & { readonly rounds: number } {
    return { ...this.#last, rounds: this.#rounds };
  }
}

/** To follow is to ask again, unless the list or the command line says otherwise of an image. */
function askedAnew(image: ListedImage): ListedImage {
  return { ...image, pullPolicy: image.pullPolicy ?? "Always" };
}

function requireRepeatable({ options }: VerbContext): void {
  if (options.values("file").includes("-"))
    throw new BpfcacheError("USAGE", "--follow cannot read standard input again: name a file");
  if (options.isSet("explain"))
    throw new BpfcacheError("USAGE", "--explain is for one round, without --follow");
}

const shortestMs = 1_000;

function parseInterval(text: string): number {
  const intervalMs = parseDuration(text);
  if (intervalMs >= shortestMs) return intervalMs;
  throw new BpfcacheError("USAGE", `--follow takes an interval from 1s, not ${JSON.stringify(text)}`);
}
