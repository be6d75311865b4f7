import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import type { HostRecord } from "./records.js";
import { encodeRecord } from "./values.js";

/**
 * What is known of registries, kept across processes so that a known one costs no refused request: the tree hosts,
 * by `host[:port]`.
 */
export class HostMemory {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get(host: string): HostRecord | undefined {
    // A damaged record is as good as none: it is learnt again.
    return this.#environment.snapshot(() =>
      soundRecordAt<HostRecord>(this.#environment, "hosts", Buffer.from(host)),
    );
  }

  /** Undefined forgets the host. What is known already is not written again. */
  set(host: string, record: HostRecord | undefined): void {
    if (JSON.stringify(this.get(host)) === JSON.stringify(record)) return;
    const key = Buffer.from(host);
    this.#environment.commit(() => {
      const hosts = this.#environment.tree("hosts");
      if (record === undefined) hosts.remove(key);
      else hosts.put(key, encodeRecord(record));
    });
  }
}
