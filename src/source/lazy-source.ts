import type { Digest } from "../core/digest.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import type {
  ImageSource,
  Referrer,
  Resolution,
  ResolveOptions,
  SourceName,
  SourceOptions,
} from "./image-source.js";

/** A source that is made when it is first asked: an image that is here costs no loading of a network client. */
export class LazySource implements ImageSource {
  readonly #open: () => Promise<ImageSource>;
  #opened: Promise<ImageSource> | undefined;
  readonly #announced: Reference[] = [];

  constructor(
    readonly name: SourceName,
    open: () => Promise<ImageSource>,
  ) {
    this.#open = open;
  }

  async resolve(reference: Reference, options?: ResolveOptions): Promise<Resolution> {
    return (await this.#source()).resolve(reference, options);
  }

  async fetch(
    reference: Reference,
    descriptor: Descriptor,
    options?: SourceOptions,
  ): Promise<AsyncIterable<Uint8Array>> {
    return (await this.#source()).fetch(reference, descriptor, options);
  }

  async referrers(
    reference: Reference,
    subject: Digest,
    options?: SourceOptions,
  ): Promise<readonly Referrer[]> {
    return (await (await this.#source()).referrers?.(reference, subject, options)) ?? [];
  }

  announce(references: readonly Reference[]): void {
    this.#announced.push(...references);
  }

  async close(): Promise<void> {
    if (this.#opened !== undefined) await (await this.#opened).close();
  }

  async #source(): Promise<ImageSource> {
    this.#opened ??= this.#open();
    const source = await this.#opened;
    if (this.#announced.length > 0) source.announce?.(this.#announced.splice(0));
    return source;
  }
}
