import { mutate, type Random } from "./mutate.js";

const maxBytes = 256 * 1024;

/** What may be put into a document. */
export interface Vocabulary {
  /** Pieces of JSON, not all of them whole. */
  readonly tokens: readonly string[];
  readonly values: readonly string[];
  readonly names: readonly string[];
}

export function vocabularyOf(tokens: readonly string[]): Vocabulary {
  const names = tokens.filter((token) => /^"[\w.]+"$/.test(token)).map((token) => token.slice(1, -1));
  return { tokens, values: tokens.filter(isJson), names };
}

/**
 * A JSON document with a few values, names or bytes changed. Half of them are documents still, as only those get past the
 * parser.
 */
export function mutateJson(original: Buffer, random: Random, vocabulary: Vocabulary): Buffer {
  if (random(2) === 0) return Buffer.from(mutateTree(original.toString("utf8"), random, vocabulary));
  const bytes = Buffer.from(mutateTokens(original.toString("utf8"), random, vocabulary.tokens));
  return random(4) === 0 ? mutate(bytes, random, []) : bytes;
}

/** Something that has members: an object, or an array by its indexes. */
type Node = Record<string, unknown>;

function mutateTree(text: string, random: Random, vocabulary: Vocabulary): string {
  const tree: unknown = JSON.parse(text);
  for (let left = 1 + random(3); left > 0; left--) {
    const nodes = nodesOf(tree);
    const node = nodes[random(nodes.length)];
    const names = Object.keys(node ?? {});
    const name = names[random(Math.max(names.length, 1))];
    if (node === undefined || name === undefined) continue;
    changeMember(node, name, random, nodes, vocabulary);
  }
  const changed = JSON.stringify(tree);
  if (changed.length > maxBytes) return text;
  // Tokens stand in the tree by number: nesting as deep as some have is more than JSON.stringify can write.
  let bytesLeft = maxBytes;
  return changed.replace(/"\u{e000}(\d+)"/gu, (_, index) => {
    const value = vocabulary.values[Number(index)] ?? "null";
    if (value.length > bytesLeft) return "null";
    bytesLeft -= value.length;
    return value;
  });
}

function changeMember(
  node: Node,
  name: string,
  random: Random,
  nodes: readonly Node[],
  { names, values }: Vocabulary,
): void {
  switch (random(8)) {
    case 0:
      if (Array.isArray(node)) node.splice(Number(name), 1);
      else delete node[name];
      return;
    case 1: {
      const value = node[name];
      if (Array.isArray(node)) repeat(node, value, 1 + random(1 << random(18)));
      else define(node, names[random(names.length)] ?? name, value);
      return;
    }
    case 2:
      define(node, name, structuredClone(nodes[random(nodes.length)]));
      return;
    case 3:
      define(node, names[random(names.length)] ?? name, `\u{e000}${random(values.length)}`);
      return;
    case 4:
      define(node, name, new Array<unknown>(1 + random(1 << random(17))).fill(random(2)));
      return;
    default:
      define(node, name, `\u{e000}${random(values.length)}`);
  }
}

function repeat(array: unknown[], value: unknown, times: number): void {
  // One and the same object many times is little in the tree, and a lot in the text.
  const length = (JSON.stringify(value)?.length ?? 0) + 1;
  for (let left = Math.min(times, maxBytes / length); left > 0; left--) array.push(value);
}

/** As JSON.parse sets members: `__proto__` is a name like any other. */
function define(node: Node, name: string, value: unknown): void {
  if (Array.isArray(node) && !/^\d+$/.test(name)) return;
  Object.defineProperty(node, name, { value, writable: true, enumerable: true, configurable: true });
}

function nodesOf(tree: unknown): readonly Node[] {
  if (typeof tree !== "object" || tree === null) return [];
  return [tree as Node, ...Object.values(tree).flatMap(nodesOf)];
}

function isJson(token: string): boolean {
  try {
    JSON.parse(token);
    return true;
  } catch {
    return false;
  }
}

function mutateTokens(original: string, random: Random, tokens: readonly string[]): string {
  let text = original;
  for (let left = 1 + random(1 + random(6)); left > 0; left--) {
    const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+|\s+/g) ?? [""];
    const at = random(parts.length);
    const token = tokens[random(tokens.length)] ?? "";
    const how = random(6);
    if (how === 0) parts.splice(at, 1 + random(4));
    else if (how === 1) parts.splice(at, 0, token);
    else if (how === 2) parts[at] = parts[random(parts.length)] ?? "";
    else parts[at] = token;
    text = parts.join("").slice(0, maxBytes);
  }
  return text;
}
