import { join } from "node:path";
import { type Digest, parseDigest, verifyDigest } from "../../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
import { defaultLimits, type Limits } from "../../core/limits.js";
import { parseReference, type Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import { indexMediaTypes, manifestMediaTypes } from "../../image/media-types.js";
import { cosignTagsOf } from "../cosign-tags.js";
import type { ImageSource, Referrer, Resolution, ResolveOptions, SourceOptions } from "../image-source.js";
import { once } from "../layout/chunks.js";
import { DirectoryFiles } from "../layout/directory-files.js";
import { readWhole } from "../layout/files.js";
import { OciLayoutSource } from "../oci-layout.js";
import { OrasAccess, type OrasAccessOptions } from "./oras-access.js";
import { toolFailed } from "./oras-failure.js";
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
  /** What is being added to the directory: each run of oras rewrites the layout's index. */
  adding: Promise<unknown>;
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
  readonly #copies = new Map<string, Promise<Copy>>();
  #directory: string | undefined;
  #count = 0;

  constructor(options: OrasSourceOptions = {}) {
    this.#limits = options.limits ?? defaultLimits;
    this.#oras = new OrasAccess({ ...options, timeoutMs: this.#limits.toolTimeoutMs });
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
    const here = await believed(() => bytesIn(layout, reference, descriptor, options));
    const bytes = here ?? (await this.#fetchAlone(reference, descriptor, options.signal));
    return believed(async () => {
      verifyDigest(bytes, descriptor.digest, "what oras brought");
      return once(bytes);
    });
  }

  /** Copied beside the image: by `oras cp --recursive`, which does not know of cosign's tags, and by each of those. */
  async referrers(
    reference: Reference,
    subject: Digest,
    { signal }: SourceOptions = {},
  ): Promise<readonly Referrer[]> {
    throwIfAborted(signal);
    const copy = await this.#copyOf(reference, signal);
    const adding = copy.adding.then(
      () => this.#addReferrers(copy, reference, subject, signal),
      () => this.#addReferrers(copy, reference, subject, signal),
    );
    copy.adding = adding;
    await adding;
    return believed(async () => (await this.#open(copy.directory, reference)).referrers(reference, subject));
  }

  async close(): Promise<void> {
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
    // A tag beside a digest is only a remark, and oras takes one or the other.
    const { name, digest } = reference;
    const from = digest === undefined ? reference.toString() : `${name}@${digest}`;
    try {
      await this.#cp(reference, [from, `${directory}:${copyTag}`], signal);
      const layout = await believed(() => this.#open(directory, reference));
      return { directory, layout, name: parseReference(`${name}:${copyTag}`), adding: Promise.resolve() };
    } catch (error) {
      removeDirectory(directory);
      throw error;
    }
  }

  async #addReferrers(
    { directory }: Copy,
    reference: Reference,
    subject: Digest,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { name } = reference;
    await this.#cp(reference, ["--recursive", `${name}@${subject}`, directory], signal);
    for (const tag of cosignTagsOf(subject))
      if (await this.#hasTag(reference, tag, signal))
        await this.#cp(reference, [`${name}:${tag}`, `${directory}:${tag}`], signal);
  }

  /** By HEAD: of an answer with a body, `oras cp` tells what that says and not its status, so a failure may look like an absence. */
  async #hasTag({ host, name }: Reference, tag: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await this.#oras.run("", host, (flags) => ["resolve", ...flags, `${name}:${tag}`], signal);
      return true;
    } catch (error) {
      if (error instanceof BpfcacheError && error.code === "NOT_FOUND") return false;
      throw error;
    }
  }

  /** What the image is not made of, such as the content of a signature. */
  async #fetchAlone(
    { name, host }: Reference,
    { digest, mediaType, size }: Descriptor,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    this.#directory ??= makePrivateDirectory();
    const kind = manifestMediaTypes.has(mediaType) || indexMediaTypes.has(mediaType) ? "manifest" : "blob";
    const file = `fetched-${this.#count++}`;
    const output = join(this.#directory, file);
    const args = (flags: readonly string[]): string[] => [
      ...[kind, "fetch", ...flags],
      ...["--output", output, `${name}@${digest}`],
    ];
    try {
      await this.#oras.run("", host, args, signal);
      const files = new DirectoryFiles(this.#directory);
      return await believed(() => readWhole(files, file, { maxBytes: size, signal }));
    } finally {
      removeDirectory(output);
    }
  }

  async #cp({ host }: Reference, words: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const args = (flags: readonly string[]): string[] => [
      "cp",
      "--no-tty",
      "--to-oci-layout",
      ...flags,
      ...words,
    ];
    await this.#oras.run("from-", host, args, signal);
  }

  #open(directory: string, { name }: Reference): Promise<OciLayoutSource> {
    const givenName = { repository: name, tag: copyTag };
    return OciLayoutSource.open(directory, { givenName, limits: this.#limits });
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

/** Undefined when the copy has no such blob. */
async function bytesIn(
  layout: OciLayoutSource,
  reference: Reference,
  descriptor: Descriptor,
  options: SourceOptions,
): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of await layout.fetch(reference, descriptor, options)) chunks.push(chunk);
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
  return Buffer.concat(chunks);
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
