import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type EventSink, emit } from "../core/events.js";

const execute = promisify(execFile);

/** It has to answer at once; a service manager that hangs must not hold up the work. */
const timeoutMs = 5_000;

/**
 * Tells systemd how a service is (sd_notify(3)), if it asked to be told. Node.js cannot write to the socket that it
 * listens on, so `systemd-notify` does, and the unit needs NotifyAccess=all.
 */
export class ServiceManager {
  readonly #onEvent: EventSink;
  #isReady = false;
  #isDeaf = process.env["NOTIFY_SOCKET"] === undefined;

  constructor(onEvent: EventSink) {
    this.#onEvent = onEvent;
  }

  /** The first call also says that the service is ready. */
  async tell(status: string): Promise<void> {
    const ready = this.#isReady ? [] : ["READY=1"];
    this.#isReady = true;
    await this.#notify([...ready, `STATUS=${status}`]);
  }

  async tellStopping(): Promise<void> {
    await this.#notify(["STOPPING=1"]);
  }

  async #notify(assignments: readonly string[]): Promise<void> {
    if (this.#isDeaf) return;
    try {
      await execute("systemd-notify", assignments, { timeout: timeoutMs });
    } catch (error) {
      this.#isDeaf = true;
      const why = error instanceof Error ? error.message : String(error);
      emit(this.#onEvent, { event: "warning", message: `systemd is not told how the service is: ${why}` });
    }
  }
}
