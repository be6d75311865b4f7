import { BpfcacheError } from "../core/errors.js";
import { parseReference } from "../core/reference.js";
import { type PullPolicy, parsePullPolicy } from "./policy.js";

/** An image that a list asks for. */
export interface ListedImage {
  readonly reference: string;
  /** What the list says; undefined leaves it to the caller. */
  readonly pullPolicy?: PullPolicy | undefined;
}

export interface ImageList {
  readonly images: readonly ListedImage[];
  /** What was passed over, as sentences. */
  readonly notes: readonly string[];
}

/**
 * The images of a list: a reference per line, with empty lines and what follows a `#` left out, or Kubernetes
 * resources in YAML or JSON (bpfman's and lists of them, and ConfigMaps whose entries are lists of references). Each image
 * is in the result once; the last policy said for it counts. `path` is for messages. Throws USAGE.
 */
export async function parseImageList(text: string, path: string): Promise<ImageList> {
  const list = looksLikeResources(text)
    ? await fromResources(text, path)
    : { images: fromLines(text), notes: [] };
  const byReference = new Map<string, ListedImage>();
  for (const image of list.images) {
    const known = byReference.get(image.reference);
    byReference.set(image.reference, { ...image, pullPolicy: image.pullPolicy ?? known?.pullPolicy });
  }
  return { images: [...byReference.values()], notes: list.notes };
}

function fromLines(text: string): ListedImage[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "")
    .map((reference) => ({ reference }));
}

function looksLikeResources(text: string): boolean {
  return /^\s*\{/.test(text) || /^(?:---|apiVersion\s*:|kind\s*:)/m.test(text);
}

/** How many times YAML may refer back to something it has said: more is an attempt to blow it up. */
const maxAliasCount = 100;

async function fromResources(text: string, path: string): Promise<ImageList> {
  const { parseAllDocuments } = await import("yaml");
  const images: ListedImage[] = [];
  const notes: string[] = [];
  for (const document of parseAllDocuments(text)) {
    const [error] = document.errors;
    if (error !== undefined) throw new BpfcacheError("USAGE", `${path}: ${error.message}`, { cause: error });
    for (const resource of resourcesOf(plainValue(document, path))) {
      const found = imagesOf(resource, path);
      if (found === undefined) notes.push(`${path}: ${nameOf(resource)} names no bytecode image`);
      else images.push(...found);
    }
  }
  return { images, notes };
}

function plainValue(document: { toJS(options: { maxAliasCount: number }): unknown }, path: string): unknown {
  try {
    return document.toJS({ maxAliasCount });
  } catch (cause) {
    throw new BpfcacheError("USAGE", `${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

type Resource = Readonly<Record<string, unknown>>;

/** A document is a resource, a `List` of them, or empty. */
function resourcesOf(document: unknown): Resource[] {
  if (!isMapping(document)) return [];
  return Array.isArray(document["items"]) ? document["items"].filter(isMapping) : [document];
}

function imagesOf(resource: Resource, path: string): ListedImage[] | undefined {
  const group = String(resource["apiVersion"] ?? "").split("/", 1)[0];
  if (group === "bpfman.io") return imageOfProgram(resource, path);
  if (resource["kind"] === "ConfigMap") return imagesOfConfigMap(resource);
  return undefined;
}

/** BpfApplication and ClusterBpfApplication write `byteCode`, the resources of before 0.6 `bytecode`. */
function imageOfProgram(resource: Resource, path: string): ListedImage[] | undefined {
  const spec = mappingIn(resource, "spec");
  const image = mappingIn(mappingIn(spec, "byteCode") ?? mappingIn(spec, "bytecode"), "image");
  const url = image?.["url"];
  if (typeof url !== "string" || url === "") return undefined;
  const policy = image?.["imagePullPolicy"];
  if (policy === undefined) return [{ reference: url }];
  if (typeof policy !== "string") {
    throw new BpfcacheError("USAGE", `${path}: ${nameOf(resource)} has an imagePullPolicy that is no text`);
  }
  return [{ reference: url, pullPolicy: parsePullPolicy(policy) }];
}

/** Entries whose every line is a whole reference; others are somebody's configuration. */
function imagesOfConfigMap(resource: Resource): ListedImage[] | undefined {
  const entries = Object.values(mappingIn(resource, "data") ?? {})
    .filter((entry) => typeof entry === "string")
    .map(fromLines)
    .filter((lines) => lines.length > 0 && lines.every(isWholeReference));
  return entries.length === 0 ? undefined : entries.flat();
}

function isWholeReference({ reference }: ListedImage): boolean {
  try {
    return parseReference(reference).toString().startsWith(reference);
  } catch {
    return false;
  }
}

function nameOf(resource: Resource): string {
  const name = mappingIn(resource, "metadata")?.["name"];
  const kind = typeof resource["kind"] === "string" ? resource["kind"] : "a document";
  return typeof name === "string" ? `${kind} ${name}` : kind;
}

function mappingIn(resource: Resource | undefined, key: string): Resource | undefined {
  const value = resource?.[key];
  return isMapping(value) ? value : undefined;
}

function isMapping(value: unknown): value is Resource {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
