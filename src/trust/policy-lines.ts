const header = /^\s*(\[\[?)([^[\]]+)\]\]?\s*(?:#.*)?$/;
const assignment = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/;

/**
 * The line of a TOML document, from 1, on which the value at a path is written, or the nearest table around it; the
 * parser does not tell. Undefined when nothing of the path is there.
 */
export function lineOf(text: string, path: readonly PropertyKey[]): number | undefined {
  let table: readonly PropertyKey[] = [];
  const counts = new Map<string, number>();
  let best: { readonly line: number; readonly length: number } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const opened = header.exec(line);
    const assigned = opened === null ? assignment.exec(line) : null;
    if (opened !== null) table = tableOf(partsOf(opened[2] ?? ""), opened[1] === "[[", counts);
    const here = assigned === null ? table : [...table, ...partsOf(assigned[1] ?? "")];
    if (opened === null && assigned === null) continue;
    const isOnTheWay = here.every((part, at) => part === path[at]);
    if (isOnTheWay && here.length > (best?.length ?? 0)) best = { line: index + 1, length: here.length };
  }
  return best?.line;
}

/** With the number of each array's last table in it, as paths have them. */
function tableOf(parts: readonly string[], isNew: boolean, counts: Map<string, number>): PropertyKey[] {
  const path: PropertyKey[] = [];
  for (const [at, part] of parts.entries()) {
    path.push(part);
    const array = path.join("\0");
    if (isNew && at === parts.length - 1) counts.set(array, (counts.get(array) ?? -1) + 1);
    const count = counts.get(array);
    if (count !== undefined) path.push(count);
  }
  return path;
}

function partsOf(key: string): string[] {
  return (key.match(/"[^"]*"|'[^']*'|[\w-]+/g) ?? []).map((part) => part.replace(/^(["'])(.*)\1$/, "$2"));
}
