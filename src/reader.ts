import { publishOnly } from "./core/channels.js";
import { parseDigest } from "./core/digest.js";
import { hostPlatform, normalizePlatform, type Platform, parsePlatform } from "./core/platform.js";
import { parseReference } from "./core/reference.js";
import { remembering } from "./core/remembering.js";
import type { Bytecode, BytecodeDescription, BytecodeOptions } from "./store/bytecode.js";
import type { CachedImage, ImageDetails } from "./store/catalog.js";
import type { ListFilter } from "./store/list.js";
import { ReadOnlyStore } from "./store/read-only-store.js";
import type { TrustOptions } from "./trust/policy.js";
import { type Judgement, Trust } from "./trust/trust.js";

export interface ReaderOptions {
  /** The directory of a cache that exists. */
  readonly directory: string;
  /** The policy that says which images may be read; without one all may. */
  readonly trust?: TrustOptions | undefined;
}

/** Which of an image's objects, for which platform (this host's by default), and with which values of its globals. */
export interface ReadOptions extends BytecodeOptions {
  /** `os/arch[/variant]`. */
  readonly platform?: string | Platform | undefined;
}

const platformNamed = remembering(parsePlatform);

/**
 * The read-only view of a cache, for loaders: no network code is loaded, nothing is written, and no reader ever
 * waits, whoever writes meanwhile. Every call sees the newest published state.
 */
export class BytecodeReader {
  readonly #store: ReadOnlyStore;
  readonly #trust: Trust | undefined;
  readonly #parse = remembering(parseReference);

  /** @internal Use `openReader`. */
  constructor(store: ReadOnlyStore, trust?: Trust) {
    this.#store = store;
    this.#trust = trust;
  }

  /**
   * The object that a reference names, as a copy of its own, re-hashed before it is handed out. With `globals`, global
   * variables of the copy have other values, as libbpf and aya set them before a load; `digest` stays that of the
   * object in the cache. Throws USAGE (malformed reference; several objects and no choice; a global that is not there or
   * a value that does not fit it), NOT_CACHED, UNTRUSTED, CACHE_CORRUPT.
   *
   * @example
   * const { bytes } = reader.bytecode("quay.io/org/program:v1", { globals: { limit: 100, interface_name: "eth0" } });
   */
  bytecode(reference: string, options: ReadOptions = {}): Bytecode {
    const platform = platformOf(options.platform);
    const parsed = this.#parse(reference);
    const bytecode = this.#store.objects.read(parsed, platform, options, this.#trust?.require);
    publishRead(bytecode);
    return bytecode;
  }

  /**
   * The same without a copy of its own: `use` gets the bytes where the next one will get its own. They are valid only until
   * it returns, so it must be synchronous, must not keep them, and must not read from this cache meanwhile (USAGE). With
   * `globals` there is a copy after all, the one that has their values.
   */
  withBytecode<T>(
    reference: string,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
    options: ReadOptions = {},
  ): T {
    const tellUse = (view: Uint8Array, description: BytecodeDescription): T => {
      publishRead(description);
      return use(view, description);
    };
    const platform = platformOf(options.platform);
    const parsed = this.#parse(reference);
    return this.#store.objects.use(parsed, platform, options, tellUse, this.#trust?.require);
  }

  /**
   * What is cached, or the part of it that matches. An image of which something was found damaged is left out, and its
   * reference given to `onIncomplete`. Throws USAGE for a malformed platform.
   */
  list(filter: ListFilter = {}, onIncomplete?: (reference: string) => void): readonly CachedImage[] {
    return this.#store.list(filter, onIncomplete);
  }

  /** Throws NOT_CACHED, and CACHE_CORRUPT when something of the image was found damaged. */
  inspect(reference: string, options: Pick<ReadOptions, "platform"> = {}): ImageDetails {
    return this.#store.inspect(parseReference(reference), platformOf(options.platform));
  }

  /**
   * What the trust policy in force says of a root digest under a reference, by the signatures that are here; null without
   * a policy. Throws USAGE.
   */
  verdict(reference: string, rootDigest: string): Judgement | null {
    return this.#trust?.judge(this.#parse(reference), parseDigest(rootDigest)) ?? null;
  }

  close(): void {
    this.#store.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Opens an existing cache for reading. Throws NOT_CACHED when there is none, CACHE_CORRUPT when it is damaged, and
 * USAGE when this user could only read it without a lock.
 *
 * @example
 * const reader = openReader({ directory: "/var/lib/bpfcache" });
 * const { bytes, digest, programs } = reader.bytecode("quay.io/org/program:v1");
 * reader.close();
 */
export function openReader(options: ReaderOptions): BytecodeReader {
  const store = ReadOnlyStore.open(options.directory);
  try {
    return new BytecodeReader(store, Trust.open(store, options.trust));
  } catch (error) {
    store.close();
    throw error;
  }
}

/** @internal Tells the channel bpfcache:read, if anybody listens there. */
export function publishRead({ reference, digest, size }: BytecodeDescription): void {
  publishOnly("read", () => ({ event: "read", reference, digest, bytes: size }));
}

/** @internal */
export function platformOf(platform: string | Platform | undefined): Platform {
  if (platform === undefined) return hostPlatform();
  return typeof platform === "string" ? platformNamed(platform) : normalizePlatform(platform);
}
