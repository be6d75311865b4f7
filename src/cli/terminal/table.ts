import type { Style } from "./style.js";
import { plainStyle } from "./style.js";
import { cutEnd, cutMiddle, displayWidth, pad } from "./width.js";

export interface Column {
  readonly heading: string;
  /** Numbers stand on the right. */
  readonly align?: "right";
  /** How it gives way when the table is too wide, and the columns it keeps; one that does not say keeps all. */
  readonly cut?: { readonly from: "middle" | "end"; readonly least: number };
}

const gap = "  ";

/** Rows under headings, in columns of equal width. What is wider than `width` is cut where the columns allow it. */
export function tableOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { width = Number.POSITIVE_INFINITY, style = plainStyle }: { width?: number; style?: Style } = {},
): string {
  const widths = shrink(columns, naturalWidths([columns.map(({ heading }) => heading), ...rows]), width);
  const heading = line(
    columns.map((column) => column.heading),
    columns,
    widths,
  );
  return `${style("bold", heading)}\n${rows.map((row) => `${line(row, columns, widths)}\n`).join("")}`;
}

/** Rows without headings; the last column is as long as it likes. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = naturalWidths(rows);
  return rows.map((row) => `${line(row, [], widths)}\n`).join("");
}

function naturalWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, displayWidth(cell));
  return widths;
}

/** Takes what is too much from the widest column that can give, as often as it takes. */
function shrink(columns: readonly Column[], natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  let excess = sum(widths) + gap.length * (widths.length - 1) - width;
  while (excess > 0) {
    const giving = columns
      .map(({ cut }, index) => ({ index, spare: cut === undefined ? 0 : (widths[index] ?? 0) - cut.least }))
      .filter(({ spare }) => spare > 0)
      .sort((a, b) => b.spare - a.spare);
    const [most, next] = giving;
    if (most === undefined) break;
    const taken = Math.min(excess, Math.max(1, most.spare - (next?.spare ?? 0)));
    widths[most.index] = (widths[most.index] ?? 0) - taken;
    excess -= taken;
  }
  return widths;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function line(cells: readonly string[], columns: readonly Column[], widths: readonly number[]): string {
  return cells
    .map((cell, i) => {
      const { align, cut } = columns[i] ?? {};
      const width = widths[i] ?? 0;
      const shown =
        cut === undefined ? cell : cut.from === "middle" ? cutMiddle(cell, width) : cutEnd(cell, width);
      if (align === "right") return pad(shown, width, "right");
      return i === cells.length - 1 ? shown : pad(shown, width);
    })
    .join(gap)
    .trimEnd();
}
