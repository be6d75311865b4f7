import { join } from "node:path";
import { toBpfcacheError } from "../core/errors.js";
import type { Store } from "../store/store.js";
import { KeylessVerifier } from "./keyless.js";
import type { RootsPolicy } from "./policy.js";
import { fetchTrustedRoot } from "./tuf.js";

/** A mirror is asked again for what is older. */
const maxAgeMs = 24 * 60 * 60 * 1_000;

/**
 * What keyless signatures are checked against: the operator's file, else what a mirror published, which is kept in the
 * cache so that loaders, and whoever is offline, decide by it too.
 */
export class TrustedRoots {
  readonly #store: Pick<Store, "trustedRoot">;
  readonly #policy: RootsPolicy;
  #verifier: KeylessVerifier | undefined;

  constructor(store: Pick<Store, "trustedRoot">, policy: RootsPolicy) {
    this.#store = store;
    this.#policy = policy;
  }

  /** By what is here; undefined when nothing is. Throws USAGE for a file that is no trusted root. */
  verifier(): KeylessVerifier | undefined {
    if (this.#verifier !== undefined) return this.#verifier;
    const { given, mirror } = this.#policy;
    const root = given ?? this.#store.trustedRoot(mirror)?.root;
    if (root === undefined) return undefined;
    const name = given === undefined ? `what ${mirror} published` : "the given file";
    this.#verifier = new KeylessVerifier(root, name);
    return this.#verifier;
  }

  /**
   * Asks the mirror, when there is no file and what is kept has become old, and keeps what it says in `store`. What is
   * kept does when the mirror cannot be reached. Throws UNREACHABLE.
   */
  async refresh(
    store: Pick<Store, "directory" | "keepTrustedRoot">,
    onFailure: (message: string) => void,
  ): Promise<void> {
    const { given, mirror, mirrorRoot } = this.#policy;
    if (given !== undefined) return;
    const kept = this.#store.trustedRoot(mirror);
    if (kept !== undefined && Date.now() - kept.fetchedAt < maxAgeMs) return;
    const cachePath = join(store.directory, "tuf");
    try {
      const root = await fetchTrustedRoot({ url: mirror, rootPath: mirrorRoot, cachePath });
      store.keepTrustedRoot(mirror, { root, fetchedAt: Date.now() });
      this.#verifier = undefined;
    } catch (error) {
      if (kept === undefined) throw error;
      onFailure(
        `${toBpfcacheError(error).message}; the one of ${new Date(kept.fetchedAt).toISOString()} is used`,
      );
    }
  }
}
