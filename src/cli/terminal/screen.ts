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
    if (lines.length === 0 && this.#drawn.length === 0) return;
    this.#stream.write(`${this.#toTop()}${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`);
    this.#drawn = lines;
  }

  /** A line that stays, above those that do not. */
  print(line: string): void {
    const below = this.#drawn.map((each) => `${each}\u001b[K\n`).join("");
    this.#stream.write(`${this.#toTop()}${this.#drawn.length === 0 ? "" : "\u001b[J"}${line}\n${below}`);
  }

  erase(): void {
    this.draw([]);
  }

  /** When the terminal has become narrower, it has broken the lines that stand there. */
  #toTop(): string {
    const columns = this.#stream.columns || 80;
    const rows = this.#drawn.map((line) =>
      Math.max(1, Math.ceil(displayWidth(line.replace(escapeCode, "")) / columns)),
    );
    const up = rows.reduce((sum, count) => sum + count, 0);
    return up === 0 ? "" : `\u001b[${up}A\r`;
  }
}
