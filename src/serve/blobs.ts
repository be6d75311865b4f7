import type { IncomingHttpHeaders } from "node:http";
import { type Digest, isDigest } from "../core/digest.js";
import type { BlobKind, Store } from "../store/store.js";
import { type Answer, digestHeaders, found, notModified, refusal } from "./answer.js";
import { partOf } from "./byte-range.js";

/**
 * The blobs that are being sent. Clients that want the same one at the same time share one copy of it, which was
 * checked against its digest when it was read and before the first header goes out.
 */
export class Blobs {
  readonly #store: Store;
  readonly #sending = new Map<Digest, WeakRef<Buffer>>();
  readonly #collected = new FinalizationRegistry<Digest>((digest) => {
    if (this.#sending.get(digest)?.deref() === undefined) this.#sending.delete(digest);
  });

  constructor(store: Store) {
    this.#store = store;
  }

  /** A blob of the repository `name`: none that is here for another one only. */
  answer(name: string, what: string, requested: IncomingHttpHeaders): Answer {
    if (isDigest(what)) {
      for (const kind of ["layer", "config"] as const) {
        if (!this.#store.belongsTo(name, kind, what)) continue;
        const known = notModified(requested["if-none-match"], what);
        if (known !== undefined) return known;
        const bytes = this.#read(kind, what);
        if (bytes === undefined) continue;
        const whole = found(bytes, "application/octet-stream", digestHeaders(what));
        return partOf(whole, requested.range, header(requested["if-range"]));
      }
    }
    return refusal(404, "BLOB_UNKNOWN", `${name} has no blob ${what} in this cache`);
  }

  #read(kind: BlobKind, digest: Digest): Buffer | undefined {
    const sending = this.#sending.get(digest)?.deref();
    if (sending !== undefined) return sending;
    const bytes = this.#store.blob(kind, digest);
    if (bytes === undefined) return undefined;
    this.#sending.set(digest, new WeakRef(bytes));
    this.#collected.register(bytes, digest);
    return bytes;
  }
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
