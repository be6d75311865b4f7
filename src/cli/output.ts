import { type BpfcacheError, exitStatus } from "../core/errors.js";
import { type Style, styleFor } from "./terminal/style.js";

/** Where results go: stdout, as one JSON document or as text for people. */
export class Output {
  readonly isJson: boolean;
  /** For text that is a result. */
  readonly style: Style = styleFor(process.stdout);
  readonly #beforePrinting: () => void;

  /** `beforePrinting` clears the progress display: on a terminal both share the line. */
  constructor(isJson: boolean, beforePrinting: () => void = () => {}) {
    this.isJson = isJson;
    this.#beforePrinting = beforePrinting;
  }

  /** How wide text may be: as a terminal is, and without bounds in a file or for another program. */
  get width(): number {
    return (process.stdout.isTTY && process.stdout.columns) || Number.POSITIVE_INFINITY;
  }

  /** Prints `document` with --json, else what `text` makes of it. */
  result(document: unknown, text: () => string): void {
    this.#beforePrinting();
    process.stdout.write(this.isJson ? `${JSON.stringify(document, null, 2)}\n` : text());
  }

  /** What is said besides, on stderr; with --json it is in the document instead. */
  note(text: () => string): void {
    if (this.isJson) return;
    this.#beforePrinting();
    process.stderr.write(text());
  }

  /** An error, on stderr. Returns the exit status. */
  error(error: BpfcacheError): number {
    const { code, message, reference, hint, log } = error;
    if (this.isJson) {
      process.stderr.write(`${JSON.stringify({ error: { code, message, reference, hint, log } })}\n`);
    } else {
      const about = reference === undefined || message.includes(reference) ? "" : `${printable(reference)}: `;
      process.stderr.write(
        `${styleFor(process.stderr)("red", "bpfcache:")} ${about}${printable(message)} [${code}]\n`,
      );
      for (const line of log ?? []) process.stderr.write(`  ${printable(line)}\n`);
      if (hint !== undefined) process.stderr.write(`  ${printable(hint)}\n`);
    }
    return exitStatus[code];
  }
}

/** Control characters, and what changes the direction or the line of what follows. */
const obeyed = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

const obeyedByNone = /^[ -~]*$/;

/** Text from a registry or an image, with what a terminal would obey made visible. */
export function printable(text: string): string {
  if (obeyedByNone.test(text)) return text; // As almost all is: a long list says so in a tenth of the time.
  return text.replace(obeyed, (character) => {
    const json = JSON.stringify(character).slice(1, -1);
    return json === character ? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}` : json;
  });
}

const sizeUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

export function formatBytes(bytes: number): string {
  const power = bytes === 0 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), sizeUnits.length - 1);
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${sizeUnits[power]}`;
}

/** So much of so much, with the unit once where it is the same. */
export function formatShare(part: number, whole: number): string {
  const [partText, wholeText] = [formatBytes(part), formatBytes(whole)];
  const [amount, unit] = partText.split(" ");
  return wholeText.endsWith(` ${unit}`) ? `${amount}/${wholeText}` : `${partText}/${wholeText}`;
}

/** How long ago, in the largest unit that fits. */
export function formatAge(iso: string, now: number = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1_000));
  if (seconds < 60) return `${seconds}s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ago`;
  return `${Math.floor(seconds / 86_400)}d ago`;
}

/** A while, as seconds until they are minutes. */
export function formatDuration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export function plural(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`;
}
