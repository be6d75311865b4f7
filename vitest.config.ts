import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // lmdb is a native addon whose environments outlive a worker thread's end: one process per test file.
    pool: "forks",
    testTimeout: 30_000,
    // The first start of a real tool may have to wait for a slow disk: cosign alone has 130 MB.
    hookTimeout: 60_000,
  },
});
