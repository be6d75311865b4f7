/** What was measured of one contestant, in the order of the rounds. */
export interface Samples {
  readonly name: string;
  /** In the unit of the table. */
  readonly values: readonly number[];
  /** Processor time of the process and its children, in milliseconds; absent where it says nothing. */
  readonly cpuMs?: readonly number[];
  /** Requests that reached the registry and its token service. */
  readonly requests?: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

export function least(values: readonly number[]): number {
  return Math.min(...values);
}

/** How far apart the quartiles are, as a share of the median: what the figure is worth. */
export function spread(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.round(part * (sorted.length - 1))] ?? Number.NaN;
  return (at(0.75) - at(0.25)) / median(values);
}

/** By how much the first is greater than the second: of the medians, and of the least values that each reached. */
export interface Ratio {
  readonly ofMedians: number;
  readonly ofLeast: number;
}

export function ratio(over: Samples, under: Samples): Ratio {
  return {
    ofMedians: median(over.values) / median(under.values),
    ofLeast: least(over.values) / least(under.values),
  };
}
