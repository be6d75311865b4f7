import { catCase } from "./cases/cat.js";
import { exportCase } from "./cases/export.js";
import { memoryCase } from "./cases/memory.js";
import { openCase } from "./cases/open.js";
import { prefetchCase } from "./cases/prefetch.js";
import { processesCase } from "./cases/processes.js";
import { pruneCase } from "./cases/prune.js";
import { publishCase } from "./cases/publish.js";
import { pullCase } from "./cases/pull.js";
import { readCase } from "./cases/read.js";
import { scrubCase } from "./cases/scrub.js";
import { seedCase } from "./cases/seed.js";
import type { BenchCase } from "./harness/bench-case.js";

/** In the order of the report. */
export const cases: readonly BenchCase[] = [
  readCase,
  openCase,
  pullCase,
  prefetchCase,
  memoryCase,
  processesCase,
  seedCase,
  exportCase,
  publishCase,
  pruneCase,
  scrubCase,
  catCase,
];
