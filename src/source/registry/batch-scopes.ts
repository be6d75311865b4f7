/** Token services take the scopes in the query: more would make URLs and tokens too long for some. */
const largestBatch = 20;

export interface RepositoryName {
  readonly host: string;
  readonly repository: string;
}

/**
 * Repositories that will be asked for together, so that one token can be bought for all of them. Not every registry
 * grants all the scopes a token is asked for; one that does not is asked for each alone from then on.
 */
export class BatchScopes {
  readonly #batches = new Map<string, readonly string[]>();
  readonly #refusing = new Set<string>();

  /** Replaces what was announced of these repositories before. */
  announce(names: readonly RepositoryName[]): void {
    const byHost = new Map<string, Set<string>>();
    for (const { host, repository } of names) {
      byHost.set(host, (byHost.get(host) ?? new Set()).add(repository));
    }
    for (const [host, repositories] of byHost) {
      const sorted = [...repositories].sort();
      for (let start = 0; start < sorted.length; start += largestBatch) {
        const batch = sorted.slice(start, start + largestBatch);
        for (const repository of batch) this.#batches.set(`${host}/${repository}`, batch);
      }
    }
  }

  /** The scopes of all that the repository was announced with; undefined when it is alone. */
  scopeFor({ host, repository }: RepositoryName): string | undefined {
    const batch = this.#batches.get(`${host}/${repository}`);
    if (batch === undefined || batch.length < 2 || this.#refusing.has(host)) return undefined;
    return batch.map(pullScope).join(" ");
  }

  /** The registry did not accept a token for many. */
  giveUp(host: string): void {
    this.#refusing.add(host);
  }
}

/** distribution, "Token Scope Documentation". */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}

export function isBatchScope(scope: string | undefined): boolean {
  return scope?.includes(" ") ?? false;
}
