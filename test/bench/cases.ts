import { openCase } from "./cases/open.js";
import { pullCase } from "./cases/pull.js";
import { readCase } from "./cases/read.js";
import type { BenchCase } from "./harness/bench-case.js";

export const cases: readonly BenchCase[] = [readCase, openCase, pullCase];
