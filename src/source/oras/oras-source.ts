import { join } from "node:path";
import { type Digest, parseDigest, verifyDigest } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import { defaultLimits, type Limits } from "../../core/limits.js";
import { parseReference, type Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import type { ImageSource, Referrer, Resolution, ResolveOptions, SourceOptions } from "../image-source.js";
import { OciLayoutSource } from "../oci-layout.js";
import { OrasAccess, type OrasAccessOptions } from "./oras-access.js";
import { toolFailed } from "./oras-failure.js";
import { OrasReferrers } from "./oras-referrers.js";
import { makePrivateDirectory, removeDirectory } from "./private-directory.js";

export interface OrasSourceOptions extends Omit<OrasAccessOptions, "timeoutMs"> {
  readonly limits?: Limits | undefined;
}

/** Copies that are kept at a time. One that was dropped and is wanted after all is made again. */
const maxCopies = 32;

/** A tag for the copy in its layout; what the registry calls it does not matter there. */
const copyTag = "copy";

interface Copy {
  readonly directory: string;
  readonly layout: OciLayoutSource;
  /** What the layout calls the image. */
  readonly name: Reference;
}

/**
 * Registries through the `oras` program, for where its credential stores, proxies and certificates are set up. `oras cp`
 * copies the whole image, every platform of it, into a layout in a private directory, which is then read as any layout
 * is. What it brings is checked like everything else; when it claims success and brings something else, that is
 * TOOL_FAILED.
 */
export class OrasSource implements ImageSource {
  readonly name = "oras";
  readonly #oras: OrasAccess;
  readonly #limits: Limits;
  readonly #referrers: OrasReferrers;
  readonly #copies = new Map<string, Promise<Copy>>();
  #directory: string | undefined;
  #count = 0;

  constructor(options: OrasSourceOptions = {}) {
    this.#limits = options.limits ?? defaultLimits;
    this.#oras = new OrasAccess({ ...options, timeoutMs: this.#limits.toolTimeoutMs });
    this.#referrers = new OrasReferrers(this.#oras);
  }

  async resolve(reference: Reference, options: ResolveOptions = {}): Promise<Resolution> {
    const { known, signal } = options;
    if (known !== undefined && (await this.#digestOf(reference, signal)) === known.digest) {
      return { unchanged: true, bytesFetched: 0 };
    }
    // Asked anew: what a tag meant in an earlier copy may be out of date.
    if (reference.digest === undefined) this.#forget(reference);
    const { layout, name } = await this.#copyOf(reference, signal);
    return believed(() => layout.resolve(name, { signal }));
  }

  async fetch(
    reference: Reference,
    descriptor: Descriptor,
    options: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const { layout } = await this.#copyOf(reference, options.signal);
    try {
      return await believed(async () => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of await layout.fetch(reference, descriptor, options)) chunks.push(chunk);
        const bytes = Buffer.concat(chunks);
        verifyDigest(bytes, descriptor.digest, "what oras brought");
        return once(bytes);
      });
    } catch (error) {
      // What refers to the image is not in the copy of it; of what should be, the copy's failure says more.
      if (!isAbsence(error)) throw error;
      return once(await this.#referrers.fetch(reference, descriptor, error, options.signal));
    }
  }

  async referrers(
    reference: Reference,
    subject: Digest,
    { signal }: SourceOptions = {},
  ): Promise<readonly Referrer[]> {
    return this.#referrers.list(reference, subject, signal);
  }

  async close(): Promise<void> {
    this.#referrers.close();
    await Promise.allSettled(this.#copies.values());
    this.#copies.clear();
    if (this.#directory !== undefined) removeDirectory(this.#directory);
    this.#directory = undefined;
  }

  async #digestOf(reference: Reference, signal: AbortSignal | undefined): Promise<Digest> {
    if (reference.digest !== undefined) return reference.digest;
    const args = (flags: readonly string[]): string[] => ["resolve", ...flags, reference.toString()];
    const printed = await this.#oras.run("", reference.host, args, signal);
    return believed(async () => parseDigest(printed.trim()));
  }

  #copyOf(reference: Reference, signal: AbortSignal | undefined): Promise<Copy> {
    const key = reference.toString();
    const known = this.#copies.get(key);
    if (known !== undefined) return known;
    const copy = this.#copy(reference, signal);
    this.#copies.set(key, copy);
    copy.catch(() => this.#copies.delete(key));
    const [oldest] = this.#copies.keys();
    if (this.#copies.size > maxCopies && oldest !== undefined) this.#forget(parseReference(oldest));
    return copy;
  }

  async #copy(reference: Reference, signal: AbortSignal | undefined): Promise<Copy> {
    this.#directory ??= makePrivateDirectory();
    const directory = join(this.#directory, String(this.#count++));
    const target = `${directory}:${copyTag}`;
    // A tag beside a digest is only a remark, and oras takes one or the other.
    const { name, digest } = reference;
    const from = digest === undefined ? reference.toString() : `${name}@${digest}`;
    try {
      const args = (flags: readonly string[]): string[] => [
        ...["cp", "--no-tty", "--to-oci-layout"],
        ...flags,
        from,
        target,
      ];
      await this.#oras.run("from-", reference.host, args, signal);
      return await believed(async () => {
        const givenName = { repository: name, tag: copyTag };
        const layout = await OciLayoutSource.open(directory, { givenName, limits: this.#limits });
        return { directory, layout, name: parseReference(`${name}:${copyTag}`) };
      });
    } catch (error) {
      removeDirectory(directory);
      throw error;
    }
  }

  /** Files that are being read stay readable until they are closed. */
  #forget(reference: Reference): void {
    const key = reference.toString();
    const copy = this.#copies.get(key);
    this.#copies.delete(key);
    copy?.then(
      ({ directory }) => removeDirectory(directory),
      () => undefined,
    );
  }
}

function isAbsence(error: unknown): error is BpfcacheError {
  const cause = error instanceof BpfcacheError ? error.cause : undefined;
  return cause instanceof BpfcacheError && cause.code === "NOT_FOUND";
}

/** Whatever is wrong with what it brought is its failure. */
async function believed<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof BpfcacheError) || error.code === "INTERRUPTED") throw error;
    throw toolFailed(`it ended well, but ${error.message}`, "", error);
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
