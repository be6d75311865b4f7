import { BpfcacheError } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { ExtractedObject } from "./format.js";
import { requireBoundedYaml } from "./yaml-bounds.js";

export type GadgetMetadata = Readonly<Record<string, unknown>>;

/** YAML that refers to itself grows when it is read; published gadgets refer to nothing, and a few references do no harm. */
const maxAliases = 16;

/**
 * The metadata of a gadget (gadget.yaml). It is a stranger's text as labels are, and bounded as they are: parsing
 * YAML takes milliseconds a kilobyte where it is made to. Throws INVALID_IMAGE.
 */
export async function readGadgetMetadata(bytes: Uint8Array, limits: Limits): Promise<GadgetMetadata> {
  if (bytes.byteLength > limits.labelBytes) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `the gadget's metadata is longer than ${limits.labelBytes} bytes`,
    );
  }
  const metadata = await parseYaml(bytes);
  if (!isMapping(metadata))
    throw new BpfcacheError("INVALID_IMAGE", "the gadget's metadata is not a YAML mapping");
  return metadata;
}

async function parseYaml(bytes: Uint8Array): Promise<unknown> {
  const { parseDocument } = await import("yaml");
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    await requireBoundedYaml(text);
    // The search for repeated keys and the errors' excerpts take time that grows with the square of the length.
    // What it would warn of goes to stderr, with the text as it is.
    const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, logLevel: "error" });
    const [error] = document.errors;
    if (error !== undefined) throw error;
    // Through JSON, because that is how it is kept: what cannot be, an alias of itself, fails here.
    return JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: maxAliases })));
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", "the gadget's metadata is not YAML that can be read", { cause });
  }
}

/**
 * What the metadata says of the objects that is not so. It names maps (of tracers, toppers and the like) and the
 * global variables that are the gadget's parameters, until 2024 under `ebpfParams` and since then under `params.ebpf`.
 */
export function gadgetDisagreements(metadata: GadgetMetadata, objects: readonly ExtractedObject[]): string[] {
  const programs = new Set(objects.flatMap(({ facts }) => facts.programs.map(({ name }) => name)));
  const maps = new Set(objects.flatMap(({ facts }) => facts.maps.map(({ name }) => name)));
  const globals = new Set(objects.flatMap(({ facts }) => facts.globals.map(({ name }) => name)));
  const { params } = metadata;
  const parameters = new Set([
    ...keysOf(metadata["ebpfParams"]),
    ...keysOf(isMapping(params) ? params["ebpf"] : undefined),
  ]);
  return [
    ...absent("program", declaredNames(metadata, "program"), programs),
    ...absent("map", declaredNames(metadata, "map"), maps),
    ...absent("parameter", parameters, globals),
  ];
}

/** `{tracers: {open: {mapName: events}}}` declares the map `events`; so does a list or mapping under `maps` itself. */
function declaredNames(metadata: GadgetMetadata, what: "program" | "map"): Set<string> {
  const direct = metadata[`${what}s`];
  const names = new Set<unknown>(Array.isArray(direct) ? direct : keysOf(direct));
  for (const section of Object.values(metadata)) {
    if (!isMapping(section)) continue;
    for (const entry of Object.values(section)) if (isMapping(entry)) names.add(entry[`${what}Name`]);
  }
  return new Set([...names].filter((name) => typeof name === "string"));
}

function absent(what: string, declared: ReadonlySet<string>, there: ReadonlySet<string>): string[] {
  return [...declared]
    .filter((name) => !there.has(name))
    .map((name) => `the gadget's metadata names a ${what} ${name} that no object has`);
}

function keysOf(value: unknown): string[] {
  return isMapping(value) ? Object.keys(value) : [];
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
