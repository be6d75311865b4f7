import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TakeOrder, TakeResult } from "./take-worker.js";

/** A process with the library that is ready to take images in. */
export class TakeWorker {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(order: TakeOrder): Promise<TakeWorker> {
    const file = join(mkdtempSync(join(tmpdir(), "bpfcache-order-")), "order.json");
    writeFileSync(file, JSON.stringify(order));
    const program = fileURLToPath(new URL("take-worker.js", import.meta.url));
    const worker = new TakeWorker(fork(program, [file]));
    await worker.#message();
    return worker;
  }

  /** Has it do so. */
  async take(): Promise<TakeResult> {
    const ended = once(this.#child, "exit");
    this.#child.send("go");
    const result = (await this.#message()) as TakeResult;
    await ended;
    return result;
  }

  async #message(): Promise<unknown> {
    const [message] = await Promise.race([
      once(this.#child, "message"),
      once(this.#child, "exit").then(() => Promise.reject(new Error("a worker ended before its time"))),
    ]);
    return message;
  }
}
