import type { Digest } from "../core/digest.js";
import { formatPlatform, parsePlatform } from "../core/platform.js";
import { type CachedImage, describeImage } from "./catalog.js";
import { DamagedRow, recordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { holdersOf, manifestsHolding } from "./holders.js";
import { namePrefix, readDigestKey, readReferenceKey } from "./keys.js";
import type { ProgramEntry, RefRecord } from "./records.js";
import { pinTest } from "./usage.js";

/** Which images: those for which all that is given holds. */
export interface ListFilter {
  /** A program of one of its objects. */
  readonly program?: string | undefined;
  /** A map of one of its objects. */
  readonly map?: string | undefined;
  /** The type of one of its programs, such as xdp. */
  readonly type?: string | undefined;
  /** Such as bpfman or gadget. */
  readonly format?: string | undefined;
  /** `os/arch[/variant]`. */
  readonly platform?: string | undefined;
}

/**
 * The references and platforms that match, in order of their names. A program or a map is found through its index,
 * so the cost is that of the answer; the rest is looked up image by image. An image with damaged or missing parts is
 * left out and told to `onIncomplete`. Throws USAGE for a malformed platform.
 */
export function listImages(
  environment: Environment,
  filter: ListFilter,
  onIncomplete: (reference: string) => void = () => {},
): CachedImage[] {
  const isPinned = pinTest(environment);
  const platform = filter.platform === undefined ? undefined : formatPlatform(parsePlatform(filter.platform));
  const images: CachedImage[] = [];
  for (const key of candidates(environment, filter)) {
    try {
      const record = recordAt<RefRecord>(environment, "refs", key);
      const image = record && describeImage(environment, record, isPinned(record.reference));
      if (image !== undefined && matches(image, filter, platform)) images.push(image);
    } catch (error) {
      if (!(error instanceof DamagedRow)) throw error;
      onIncomplete(readReferenceKey(key).reference ?? "a reference whose record is damaged");
    }
  }
  return images;
}

/** Keys of references. */
function candidates(environment: Environment, { program, map }: ListFilter): Buffer[] {
  if (program !== undefined)
    return referencesWith(environment, objectsNamed(environment, "byProgram", program));
  if (map !== undefined) return referencesWith(environment, objectsNamed(environment, "byMap", map));
  return environment.tree("refs").keys();
}

function objectsNamed(environment: Environment, index: "byProgram" | "byMap", name: string): Digest[] {
  const prefix = namePrefix(name);
  return environment
    .tree(index)
    .keys(prefix)
    .map((key) => readDigestKey(key, prefix.length).digest);
}

/** From objects to the manifests that hold them, to the references that hold those. */
function referencesWith(environment: Environment, objects: readonly Digest[]): Buffer[] {
  const manifests = new Set(objects.flatMap((object) => manifestsHolding(environment, "object", object)));
  const keys = [...manifests].flatMap((manifest) => holdersOf(environment, "manifest", manifest));
  return keys.sort(Buffer.compare);
}

function matches(
  image: CachedImage,
  { program, map, type, format }: ListFilter,
  platform: string | undefined,
): boolean {
  const hasProgram = (isMeant: (program: ProgramEntry) => boolean): boolean =>
    image.objects.some(({ programs }) => programs.some(isMeant));
  return (
    (program === undefined || hasProgram(({ name }) => name === program)) &&
    (map === undefined || image.objects.some(({ maps }) => maps.some(({ name }) => name === map))) &&
    (type === undefined || hasProgram((each) => each.type === type)) &&
    (format === undefined || image.format === format) &&
    (platform === undefined || image.platform === platform)
  );
}
