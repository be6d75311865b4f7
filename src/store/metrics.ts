import type { Budget } from "./budget.js";
import { contentBytes } from "./content-bytes.js";
import type { CounterName } from "./counters.js";
import type { Environment } from "./environment.js";

/** What a cache has done and what is in it now, for monitoring: cheap, however much there is. */
export interface Metrics {
  /** By name, since the cache was made; see `Counters` for what is not counted. */
  readonly counters: Readonly<Record<CounterName, number>>;
  /** Manifests, configs, layers and objects, each once. */
  readonly bytes: number;
  readonly fileBytes: number;
  /** The part of the file that is free for the next writes. */
  readonly freeBytes: number;
  /** The budget; null when there is none. */
  readonly maxBytes: number | null;
  /** References, each on each of its platforms. */
  readonly references: number;
  readonly images: number;
  readonly objects: number;
}

export function metricsOf(
  environment: Environment,
  counters: Metrics["counters"],
  budget: Budget | undefined,
): Metrics {
  return {
    counters,
    bytes: contentBytes(environment),
    ...environment.space(),
    maxBytes: budget?.maxBytes ?? null,
    references: environment.tree("refs").size,
    images: environment.tree("images").size,
    objects: environment.tree("objects").size,
  };
}
