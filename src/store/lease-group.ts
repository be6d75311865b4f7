import { BpfcacheError } from "../core/errors.js";
import type { Environment } from "./environment.js";
import type { Lease, Leases, TakeOptions, Wanted } from "./leases.js";

/** The leases of one pull: taken on its way down, and handed in with what it publishes or else given back. */
export class LeaseGroup {
  readonly #leases: Leases;
  readonly #environment: Environment;
  readonly #held = new Set<Lease>();

  constructor(environment: Environment, leases: Leases) {
    this.#environment = environment;
    this.#leases = leases;
  }

  /** Waits until each of them is here or leased by this pull; see `Leases.take`. */
  async take(wanted: readonly Wanted[], options: TakeOptions): Promise<void> {
    const unique = new Map(wanted.map((each) => [each.key.toString("latin1"), each]));
    for (const { key } of this.#held) unique.delete(key.toString("latin1"));
    if (unique.size === 0) return;
    for (const lease of await this.#leases.take([...unique.values()], options)) this.#held.add(lease);
  }

  /**
   * Only inside the `commit` that publishes: what is published and that nobody fetches it any more become visible
   * together. Leases that another pull of this process needs too stay. Throws LeaseLost.
   */
  handIn(): void {
    for (const lease of this.#held) if (!this.#leases.isIntact(lease)) throw new LeaseLost();
    for (const { key, users } of this.#held) if (users === 1) this.#environment.tree("leases").remove(key);
  }

  giveBack(): void {
    this.#leases.giveBack(this.#held);
    this.#held.clear();
  }
}

/** Another process took this one for dead and fetches the same by now; pulling again finds what it has published. */
export class LeaseLost extends BpfcacheError {
  constructor() {
    super("CACHE_BUSY", "another process took over what this one was fetching", { hint: "Try again." });
  }
}
