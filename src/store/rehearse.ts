import type { Environment } from "./environment.js";

const over = new Error("the rehearsal is over");

/**
 * What `write` returns, of a transaction that is rolled back: nothing changes, and the answer is exactly what doing
 * it would give. Other writers wait meanwhile; nothing goes to the disk.
 */
export function rehearse<T>(environment: Environment, write: () => T): T {
  const results: T[] = [];
  try {
    environment.commit(() => {
      results.push(write());
      throw over;
    });
  } catch (error) {
    if (error !== over) throw error;
  }
  return results[0] as T;
}
