import { emit } from "../../core/events.js";
import { headerValues } from "./headers.js";
import { redactText } from "./redact.js";
import type { Answer, Call } from "./transport.js";

/** distribution-spec, "Warnings": this one code and agent, a quoted text, 4096 bytes in all; others are not ours to show. */
const warning = /^299 - "((?:[^"\\]|\\.)*)"$/;
const maxBytes = 4_096;
/** A registry that never repeats itself must not fill our memory. */
const maxRemembered = 1_000;

/** Passes a registry's warnings on, each once. They change nothing. */
export class Warnings {
  readonly #shown = new Set<string>();

  show(answer: Answer, host: string, call: Call): void {
    let bytes = 0;
    for (const value of headerValues(answer.headers, "warning")) {
      bytes += value.length;
      const text = warning.exec(value.trim())?.[1];
      if (text === undefined || bytes > maxBytes) continue;
      this.warn(`${host} says: ${redactText(text.replace(/\\(.)/g, "$1"))}`, call);
    }
  }

  /** Emits a warning unless it has been emitted before. */
  warn(message: string, call: Call): void {
    if (this.#shown.has(message) || this.#shown.size >= maxRemembered) return;
    this.#shown.add(message);
    emit(call.onEvent, { event: "warning", reference: call.reference, message });
  }
}
