import { displayWidth, pad, wrap } from "../terminal/width.js";
import type { GlobalOptionSpec, OptionSpec } from "../verb.js";

const widest = 100;

/** Help is read on a terminal of its width, and elsewhere always the same. */
export function helpWidth(): number {
  return Math.max(40, Math.min(widest, (process.stdout.isTTY && process.stdout.columns) || widest));
}

/** Terms with what they mean beside them, or below where there is no room. */
export function definitions(rows: readonly (readonly [string, string])[], width = helpWidth()): string {
  const longest = Math.max(...rows.map(([term]) => displayWidth(term)));
  const column = Math.min(longest, Math.floor(width * 0.45));
  return rows
    .flatMap(([term, meaning]) => {
      const [first = "", ...rest] = wrap(meaning, width - column - 4);
      const below = rest.map((line) => `  ${pad("", column)}  ${line}`);
      if (displayWidth(term) <= column) return [`  ${pad(term, column)}  ${first}`.trimEnd(), ...below];
      return [`  ${term}`, `  ${pad("", column)}  ${first}`, ...below];
    })
    .map((line) => `${line}\n`)
    .join("");
}

export function paragraph(text: string, width = helpWidth()): string {
  return `${wrap(text, width).join("\n")}\n`;
}

/** As an option is written, with its value. */
export function optionTerm({ name, short, value }: OptionSpec): string {
  return `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

/** What it does, and what holds without it; not what that is on this host alone. */
export function optionMeaning(option: OptionSpec & GlobalOptionSpec): string {
  const notes = [
    typeof option.default === "string" ? `default ${option.default}` : "",
    option.environment ?? "",
    option.multiple === true ? "may be repeated" : "",
  ].filter(Boolean);
  return notes.length === 0 ? option.summary : `${option.summary} (${notes.join(", ")})`;
}

export function optionList(options: readonly OptionSpec[], width = helpWidth()): string {
  return definitions(
    options.map((option) => [optionTerm(option), optionMeaning(option)] as const),
    width,
  );
}
