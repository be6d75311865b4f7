import { parse, TomlError, type TomlTable } from "smol-toml";

/**
 * The line that sets a key, from 1: the parser does not tell. It is the first up to which the file has the key, or, for
 * a value of several lines, the one after the last up to which it was a file without it.
 */
export function lineOf(key: readonly string[], text: string): number {
  const lines = text.split("\n");
  let lastWhole = 0;
  for (let count = 1; count <= lines.length; count++) {
    const beginning = parseBeginning(lines.slice(0, count).join("\n"));
    if (beginning === undefined) continue;
    if (has(beginning, key)) return lastWhole + 1;
    lastWhole = count;
  }
  return lastWhole;
}

/** Undefined in the middle of a value. */
function parseBeginning(text: string): TomlTable | undefined {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof TomlError) return undefined;
    throw error;
  }
}

function has(table: TomlTable, key: readonly string[]): boolean {
  let value: unknown = table;
  for (const name of key) {
    if (typeof value !== "object" || value === null || !(name in value)) return false;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return true;
}
