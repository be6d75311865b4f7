import { z } from "zod";
import { BpfcacheError } from "../../core/errors.js";
import { documents } from "../schema/documents.js";
import { nearest } from "./nearest.js";

const dialect = "https://json-schema.org/draft/2020-12/schema";

/** All documents as one JSON Schema, each in `$defs` by the name of its verb; or only what one of them needs. */
export function text(document?: string): string {
  const definitions = definitionsOf();
  if (document === undefined) {
    return print({
      $schema: dialect,
      title: "What bpfcache prints with --json, by verb, and with --progress json (event)",
      $defs: definitions,
    });
  }
  if (!(document in definitions)) {
    const meant = nearest(document, Object.keys(definitions));
    throw new BpfcacheError("USAGE", `there is no JSON document ${JSON.stringify(document)}`, {
      hint:
        meant === undefined ? `They are ${Object.keys(definitions).join(", ")}.` : `Did you mean ${meant}?`,
    });
  }
  return print({ $schema: dialect, $ref: `#/$defs/${document}`, $defs: needed(document, definitions) });
}

function print(schema: object): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function definitionsOf(): Record<string, object> {
  const registry = z.registry<{ id: string }>();
  // A verb that prints the same as another is a name for it.
  const ids = new Map<z.ZodType, string>();
  for (const [id, schema] of Object.entries(documents)) {
    if (ids.has(schema)) continue;
    ids.set(schema, id);
    registry.add(schema, { id });
  }
  const { schemas } = z.toJSONSchema(registry, { io: "input", uri: (id) => `#/$defs/${id}` });
  return Object.fromEntries(
    Object.entries(documents).map(([name, schema]) => {
      const id = ids.get(schema) ?? name;
      if (id !== name) return [name, { $ref: `#/$defs/${id}` }];
      const { $schema: _, $id: __, ...definition } = schemas[id] ?? {};
      return [name, definition];
    }),
  );
}

/** A definition with those that it refers to, directly or not. */
function needed(name: string, definitions: Readonly<Record<string, object>>): Record<string, object> {
  const names = new Set([name]);
  for (const each of names) {
    const text = JSON.stringify(definitions[each]);
    for (const [, other = ""] of text.matchAll(/"\$ref":"#\/\$defs\/([\w-]+)"/g)) names.add(other);
  }
  return Object.fromEntries([...names].map((each) => [each, definitions[each] ?? {}]));
}
