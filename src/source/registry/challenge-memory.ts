/** How a registry wants to be authenticated to. It holds no secret and may be kept across processes. */
export interface KnownChallenge {
  readonly scheme: "basic" | "bearer";
  readonly realm: string;
  readonly service?: string | undefined;
  /** For registries whose scope does not name the repository (ECR Public wants `aws`). */
  readonly fixedScope?: string | undefined;
}

/** Remembers challenges by registry host, so that a known registry costs no 401. The store has a lasting one. */
export interface ChallengeMemory {
  get(host: string): KnownChallenge | undefined;
  set(host: string, challenge: KnownChallenge | undefined): void;
}

export function challengeMemory(): ChallengeMemory {
  const known = new Map<string, KnownChallenge>();
  return {
    get: (host) => known.get(host),
    set: (host, challenge) => {
      if (challenge === undefined) known.delete(host);
      else known.set(host, challenge);
    },
  };
}
