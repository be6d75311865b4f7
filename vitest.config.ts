import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // lmdb is a native addon whose environments outlive a worker thread's end: one process per test file.
    pool: "forks",
    testTimeout: 30_000,
  },
});
