/** With BPFCACHE_SOAK (as npm run soak sets it) the tests here run as often as it takes to be sure, else as often as a change can wait for. */
export const isSoak = Boolean(process.env["BPFCACHE_SOAK"]);

export function times(quick: number, soak: number): number {
  return isSoak ? soak : quick;
}

/** What random choices are made from; a failure names it, and BPFCACHE_TEST_SEED repeats it. */
export const seed = Number(process.env["BPFCACHE_TEST_SEED"] ?? Date.now() % 2 ** 32);
