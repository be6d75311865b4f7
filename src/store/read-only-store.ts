import type { Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import { type Bytecode, BytecodeAccess, type BytecodeDescription, type BytecodeOptions } from "./bytecode.js";
import { type CachedImage, describeImageFully, type ImageDetails } from "./catalog.js";
import { Environment } from "./environment.js";
import { type ListFilter, listImages } from "./list.js";
import { requireReference } from "./require-reference.js";
import { ObjectVerifier } from "./whole.js";

/**
 * What a loader needs of the store, and no more: every module is time that passes before its first read. Nothing is
 * written, so what is found damaged is only told.
 */
export class ReadOnlyStore {
  readonly #environment: Environment;
  readonly #bytecode: BytecodeAccess;

  private constructor(environment: Environment) {
    this.#environment = environment;
    this.#bytecode = new BytecodeAccess(environment, new ObjectVerifier());
  }

  /** See `Environment.open`. */
  static open(directory: string): ReadOnlyStore {
    return new ReadOnlyStore(Environment.open({ directory, readOnly: true }));
  }

  /** As `Store.bytecode`. */
  bytecode(reference: Reference, platform: Platform, options: BytecodeOptions): Bytecode {
    return this.#bytecode.read(reference, platform, options);
  }

  withBytecode<T>(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
  ): T {
    return this.#bytecode.use(reference, platform, options, use);
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

  close(): void {
    this.#environment.close();
  }
}
