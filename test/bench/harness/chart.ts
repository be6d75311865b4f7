import type { Table } from "./bench-case.js";
import { figure } from "./markdown.js";
import { median } from "./samples.js";

const width = 760;
const labelWidth = 300;
const valueWidth = 90;
const rowHeight = 22;
const headHeight = 34;

/** From this much between the least and the greatest bar on, their lengths are logarithms: else one would not be seen. */
const linearRange = 25;

const palette = { ours: "#2f6fde", theirs: "#9aa3ad", text: "#4b5563", background: "#ffffff" } as const;

/** Bars for each row of each table. Ours are those whose names begin with bpfcache. */
export function chartOf(title: string, tables: readonly Table[]): string {
  const parts: string[] = [];
  let y = 8;
  for (const table of tables) {
    const medians = table.rows.map(({ values }) => median(values)).filter((value) => value > 0);
    const [least, greatest] = [Math.min(...medians), Math.max(...medians)];
    const isLogarithmic = greatest / least > linearRange;
    const scale = isLogarithmic ? ", logarithmic" : "";
    parts.push(text(8, y + 20, `${table.title} (${table.unit}${scale})`, { bold: true }));
    y += headHeight;
    for (const { name, values } of table.rows) {
      const value = median(values);
      const share = isLogarithmic
        ? (Math.log10(value / least) + 0.3) / (Math.log10(greatest / least) + 0.3)
        : value / greatest;
      parts.push(bar(y, name, value, Number.isFinite(share) ? share : 0));
      y += rowHeight;
    }
    y += 10;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" font-family="sans-serif" font-size="12" role="img" aria-label="${escapeXml(title)}">`,
    `<rect width="${width}" height="${y}" fill="${palette.background}"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function bar(y: number, name: string, value: number, share: number): string {
  const length = Math.max(1, Math.round(share * (width - labelWidth - valueWidth)));
  const color = name.startsWith("bpfcache") ? palette.ours : palette.theirs;
  return [
    text(labelWidth - 8, y + 14, name, { end: true }),
    `<rect x="${labelWidth}" y="${y + 2}" width="${length}" height="${rowHeight - 6}" rx="2" fill="${color}"/>`,
    text(labelWidth + length + 6, y + 14, figure(value)),
  ].join("");
}

function text(x: number, y: number, content: string, style: { bold?: boolean; end?: boolean } = {}): string {
  const anchor = style.end === true ? ' text-anchor="end"' : "";
  const weight = style.bold === true ? ' font-weight="bold"' : "";
  return `<text x="${x}" y="${y}" fill="${palette.text}"${anchor}${weight}>${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
  return content.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
