import type { Digest } from "../core/digest.js";
import type { Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import { BytecodeAccess } from "./bytecode.js";
import { type CachedImage, describeImageFully, type ImageDetails } from "./catalog.js";
import { contentAt } from "./content.js";
import { Environment } from "./environment.js";
import { type ListFilter, listImages } from "./list.js";
import type { ReferrerRecord, VerdictRecord } from "./records.js";
import { referrersOf } from "./referrers.js";
import { requireReference } from "./require-reference.js";
import { type TrustedRootRecord, trustedRootOf } from "./trusted-root.js";
import { decodeManifest, type StoredManifest } from "./values.js";
import { verdictOf } from "./verdicts.js";
import { ObjectVerifier } from "./whole.js";

/**
 * What a loader needs of the store, and no more: every module is time that passes before its first read. Nothing is
 * written, so what is found damaged is only told.
 */
export class ReadOnlyStore {
  readonly #environment: Environment;
  readonly objects: BytecodeAccess;

  private constructor(environment: Environment) {
    this.#environment = environment;
    this.objects = new BytecodeAccess(environment, new ObjectVerifier());
  }

  /** See `Environment.open`. */
  static open(directory: string): ReadOnlyStore {
    return new ReadOnlyStore(Environment.open({ directory, readOnly: true }));
  }

  /** As `Store.list`. */
  list(filter: ListFilter, onIncomplete?: (reference: string) => void): CachedImage[] {
    return this.#environment.snapshot(() => listImages(this.#environment, filter, onIncomplete));
  }

  /** Throws NOT_CACHED. */
  inspect(reference: Reference, platform: Platform): ImageDetails {
    const environment = this.#environment;
    return environment.snapshot(() =>
      describeImageFully(environment, requireReference(environment, reference, platform)),
    );
  }

  /** As `Store.verdict`. */
  verdict(root: Digest, policy: string, rule: string): VerdictRecord | undefined {
    return this.#environment.snapshot(() => verdictOf(this.#environment, root, policy, rule));
  }

  /** As `Store.trustedRoot`. */
  trustedRoot(mirror: string): TrustedRootRecord | undefined {
    return this.#environment.snapshot(() => trustedRootOf(this.#environment, mirror));
  }

  /** As `Store.referrersOf`. */
  referrersOf(subject: Digest): ReferrerRecord[] {
    return this.#environment.snapshot(() => referrersOf(this.#environment, subject));
  }

  /** As `Store.manifest`. */
  manifest(digest: Digest): StoredManifest | undefined {
    const bytes = this.#environment.snapshot(() => contentAt(this.#environment, "manifest", digest));
    return bytes && decodeManifest(bytes);
  }

  /** As `Store.blob`. */
  blob(kind: "config" | "layer", digest: Digest): Buffer | undefined {
    return this.#environment.snapshot(() => contentAt(this.#environment, kind, digest));
  }

  close(): void {
    this.#environment.close();
  }
}
