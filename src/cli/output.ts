import { type BpfcacheError, exitStatus } from "../core/errors.js";

/** Where results go: stdout, as one JSON document or as text for people. */
export class Output {
  readonly isJson: boolean;
  readonly #beforePrinting: () => void;

  /** `beforePrinting` clears the progress display: on a terminal both share the line. */
  constructor(isJson: boolean, beforePrinting: () => void = () => {}) {
    this.isJson = isJson;
    this.#beforePrinting = beforePrinting;
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
      process.stderr.write(`bpfcache: ${about}${printable(message)} [${code}]\n`);
      for (const line of log ?? []) process.stderr.write(`  ${printable(line)}\n`);
      if (hint !== undefined) process.stderr.write(`  ${printable(hint)}\n`);
    }
    return exitStatus[code];
  }
}

/** Text from a registry or an image, with what a terminal would obey made visible. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what must not reach the terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => JSON.stringify(character).slice(1, -1));
}

/** Rows as columns of equal width, two spaces apart; the last one is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map(
      (row) =>
        `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ")}\n`,
    )
    .join("");
}

const sizeUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

export function formatBytes(bytes: number): string {
  const power = bytes === 0 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), sizeUnits.length - 1);
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${sizeUnits[power]}`;
}

/** How long ago, in the largest unit that fits. */
export function formatAge(iso: string, now: number = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1_000));
  if (seconds < 60) return `${seconds}s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ago`;
  return `${Math.floor(seconds / 86_400)}d ago`;
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
