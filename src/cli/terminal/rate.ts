const windowMs = 3_000;

/** How fast a count grows, over the last seconds. */
export class Rate {
  readonly #samples: { readonly at: number; readonly count: number }[] = [];

  note(count: number, now: number): void {
    this.#samples.push({ at: now, count });
    while ((this.#samples[1]?.at ?? now) <= now - windowMs) this.#samples.shift();
  }

  /** Undefined until there is enough to tell. */
  perSecond(now: number): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || now - first.at < 250) return undefined;
    return Math.max(0, ((last.count - first.count) * 1_000) / (now - first.at));
  }
}
