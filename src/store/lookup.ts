import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { byteOrderOf, formatPlatform, type Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import { isNamedFor } from "../image/formats/name-architecture.js";
import { recordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { digestKey, referenceKey, rootKey } from "./keys.js";
import type { ImageRecord, ObjectEntry, RefRecord, RootRecord } from "./records.js";

/**
 * What a reference means here, or undefined. A digest beats a tag: a reference with one is answered by that digest
 * alone, under whatever name its image was taken in.
 */
export function find(
  environment: Environment,
  reference: Reference,
  platform: Platform,
): RootRecord | undefined {
  return (
    findReference(environment, reference, platform) ??
    (reference.digest === undefined ? undefined : findDigest(environment, reference.digest, platform))
  );
}

/** The row of exactly this reference. */
export function findReference(
  environment: Environment,
  reference: Reference,
  platform: Platform,
): RefRecord | undefined {
  const key = referenceKey(reference.toString(), formatPlatform(platform));
  return recordAt<RefRecord>(environment, "refs", key);
}

/** By root digest, or by the manifest digest of an image that can run on the platform. */
function findDigest(environment: Environment, digest: Digest, platform: Platform): RootRecord | undefined {
  const name = formatPlatform(platform);
  const root = recordAt<RootRecord>(environment, "roots", rootKey(digest, name));
  if (root !== undefined) return root;
  const image = recordAt<ImageRecord>(environment, "images", digestKey(digest));
  if (!image?.objects.some(({ byteOrder }) => byteOrder === byteOrderOf(platform))) return undefined;
  return { platform: name, chain: [digest], objects: image.objects, platforms: [] };
}

export interface ObjectChoice {
  /** The object's name in the image, or its last path component, or its digest. */
  readonly object?: string | undefined;
  /** A program the object must contain. */
  readonly program?: string | undefined;
}

/** The object meant, when there is exactly one of the platform's byte order, or one that names its architecture. Throws USAGE, saying which there are. */
export function chooseObject(
  reference: Reference,
  all: readonly ObjectEntry[],
  platform: Platform,
  choice: ObjectChoice,
): ObjectEntry {
  const { object, program } = choice;
  const objects = all.filter(({ byteOrder }) => byteOrder === byteOrderOf(platform));
  const matches = objects.filter(
    (entry) =>
      (object === undefined || isNamed(entry, object)) &&
      (program === undefined || entry.programs.some(({ name }) => name === program)),
  );
  const only = onlyObject(matches) ?? onlyObject(namedFor(matches, platform));
  if (only !== undefined) return only;
  const wanted = [object && `object ${object}`, program && `program ${program}`]
    .filter(Boolean)
    .join(" and ");
  const there = objects
    .map(({ name, programs }) => `${name} (${programs.map((p) => p.name).join(", ")})`)
    .join("; ");
  throw new BpfcacheError(
    "USAGE",
    matches.length === 0
      ? `the image has no ${wanted}`
      : `the image has several objects${wanted && ` with ${wanted}`}`,
    {
      reference: reference.toString(),
      found: there,
      hint: `Choose with --object or --program. It has: ${there}`,
    },
  );
}

function onlyObject(matches: readonly ObjectEntry[]): ObjectEntry | undefined {
  return new Set(matches.map(({ digest }) => digest)).size === 1 ? matches[0] : undefined;
}

/** Of objects that say in their names what architecture they are for, those for this one. */
function namedFor(matches: readonly ObjectEntry[], { architecture }: Platform): readonly ObjectEntry[] {
  const named = matches.filter(({ name }) => isNamedFor(name, architecture) === true);
  return named.length > 0
    ? named
    : matches.filter(({ name }) => isNamedFor(name, architecture) === undefined);
}

function isNamed(entry: ObjectEntry, wanted: string): boolean {
  return entry.name === wanted || entry.name.endsWith(`/${wanted}`) || entry.digest === wanted;
}
