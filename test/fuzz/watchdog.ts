import { Worker } from "node:worker_threads";

/**
 * Ends this process when `beat` has not been called for `silenceMs`, after writing what was under way to stderr: a loop
 * without end leaves no other way to learn of it. It watches from a thread of its own.
 */
export class Watchdog {
  readonly #beats = new BigInt64Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;

  constructor(silenceMs: number) {
    this.#worker = new Worker(watcher, { eval: true, workerData: { beats: this.#beats, silenceMs } });
    this.#worker.unref();
  }

  /** `number` is what is begun now. */
  beat(number: number): void {
    Atomics.store(this.#beats, 0, BigInt(number));
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

const watcher = `
const { workerData: { beats, silenceMs } } = require("node:worker_threads");
const { writeSync } = require("node:fs");
let last = -1n;
setInterval(() => {
  const now = Atomics.load(beats, 0);
  if (now === last) {
    writeSync(2, "fuzz: mutant " + now + " has not ended after " + silenceMs + " ms\\n");
    process.kill(process.pid, "SIGKILL");
  }
  last = now;
}, silenceMs);
`;
