import { displayWidth } from "./width.js";

/** What a block of lines is drawn on: process.stderr, in general. */
export interface TerminalStream {
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  write(text: string): unknown;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes begin with one
const escapeCode = /\u001b\[[\d;]*m/g;

/**
 * The last lines of a terminal, drawn again and again in place, while what is to stay scrolls by above them. Each
 * change is one write, so that nothing else gets in between and no line is seen half.
 */
export class Screen {
  readonly #stream: TerminalStream;
  #drawn: readonly string[] = [];

  constructor(stream: TerminalStream) {
    this.#stream = stream;
  }

  /** One column is left free: a terminal may wrap a line that fills the last one. */
  get width(): number {
    return Math.max(20, (this.#stream.columns || 80) - 1);
  }

  get height(): number {
    return Math.max(4, this.#stream.rows || 24);
  }

  /** The lines must fit the width. */
  draw(lines: readonly string[]): void {
    this.#replace([], lines);
  }

  /** A line that stays, above those that do not. */
  print(text: string): void {
    this.#replace(text.split("\n"), this.#drawn);
  }

  erase(): void {
    this.#replace([], []);
  }

  /** Line by line: a terminal that is told to clear all the rest may keep that for its user to scroll back to. */
  #replace(lasting: readonly string[], drawn: readonly string[]): void {
    const before = this.#rowsOf(this.#drawn);
    const left = Math.max(0, before - this.#rowsOf(lasting) - this.#rowsOf(drawn));
    const text = [...lasting, ...drawn, ...Array.from({ length: left }, () => "")]
      .map((line) => `${line}\u001b[K\n`)
      .join("");
    this.#drawn = drawn;
    if (before === 0 && text === "") return;
    this.#stream.write(`${up(before)}${text}${up(left)}`);
  }

  /** How many rows lines take: when the terminal has become narrower, it has broken those that stand there. */
  #rowsOf(lines: readonly string[]): number {
    const columns = this.#stream.columns || 80;
    return lines.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil(displayWidth(line.replace(escapeCode, "")) / columns)),
      0,
    );
  }
}

function up(rows: number): string {
  return rows === 0 ? "" : `\u001b[${rows}A\r`;
}
