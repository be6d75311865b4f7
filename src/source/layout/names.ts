import { BpfcacheError } from "../../core/errors.js";
import { parseReference, type Reference } from "../../core/reference.js";

/** What `--as` says: the repository of what has no whole name, and possibly the tag of the one image without any. */
export interface GivenName {
  /** As `host/path`. */
  readonly repository: string;
  readonly tag: string | undefined;
}

/** An image in a file, with the names that the file gives it: whole references or bare tags. */
export interface NamelyImage<T> {
  readonly names: readonly string[];
  readonly image: T;
}

export interface ImageWithReference<T> {
  readonly reference: Reference;
  readonly image: T;
}

/** Throws USAGE for what is no repository or reference, or has a digest. */
export function parseGivenName(text: string): GivenName {
  const reference = parseReference(text);
  if (reference.digest !== undefined) {
    throw new BpfcacheError("USAGE", `${JSON.stringify(text)} has a digest; --as takes a name without one`);
  }
  const hasTag = text.lastIndexOf(":") > text.lastIndexOf("/");
  return { repository: reference.name, tag: hasTag ? reference.tag : undefined };
}

/**
 * A reference for each name in a file. Bare tags belong to the given repository. Where nothing has a name the only
 * image gets the given one, `latest` when that has no tag. Throws USAGE, naming the tags there are, when a name is
 * missing or malformed, NOT_FOUND when there is no image, INVALID_IMAGE when one name is given to two images.
 */
export function nameImages<T>(
  where: string,
  images: readonly NamelyImage<T>[],
  given: GivenName | undefined,
): ImageWithReference<T>[] {
  const pairs = images.flatMap(({ names, image }) => names.map((name) => ({ name, image })));
  if (pairs.length === 0)
    return [{ reference: onlyName(where, images.length, given), image: soleImage(images) }];
  const tags = pairs.map(({ name }) => name).filter((name) => !isWhole(name));
  if (tags.length > 0) requireRoomFor(where, tags, given);
  const named = pairs.map(({ name, image }) => ({ reference: referenceOf(name, given), image }));
  refuseTwoOfOneName(where, named);
  return named;
}

/** A tag has neither; `docker save busybox` and skopeo write `busybox:latest`, which is a whole name to them. */
function isWhole(name: string): boolean {
  return name.includes("/") || name.includes(":");
}

function referenceOf(name: string, given: GivenName | undefined): Reference {
  if (isWhole(name) || given === undefined) return parseReference(name);
  return parseReference(`${given.repository}:${given.tag ?? name}`);
}

function requireRoomFor(where: string, tags: readonly string[], given: GivenName | undefined): void {
  if (given !== undefined && (given.tag === undefined || tags.length === 1)) return;
  const listed = `${tags.slice(0, 20).join(", ")}${tags.length > 20 ? ` and ${tags.length - 20} more` : ""}`;
  if (given === undefined) {
    throw new BpfcacheError("USAGE", `${where} has tags without a repository: ${listed}`, {
      hint: "Name their repository with --as, for example --as quay.io/org/program.",
    });
  }
  throw new BpfcacheError("USAGE", `${where} has several tags, and --as has one of its own: ${listed}`, {
    hint: `Name only the repository: --as ${given.repository}.`,
  });
}

function onlyName(where: string, count: number, given: GivenName | undefined): Reference {
  if (count === 0) throw new BpfcacheError("NOT_FOUND", `${where} names no image`);
  if (count > 1) {
    throw new BpfcacheError(
      "USAGE",
      `${where} has ${count} images without names, and nothing tells them apart`,
      {
        hint: "Write it again with their names in it, or each into a file of its own.",
      },
    );
  }
  if (given === undefined) {
    throw new BpfcacheError("USAGE", `what is in ${where} has no name`, {
      hint: "Name it with --as, for example --as quay.io/org/program:v1.",
    });
  }
  return parseReference(`${given.repository}:${given.tag ?? "latest"}`);
}

function soleImage<T>([first]: readonly NamelyImage<T>[]): T {
  if (first === undefined) throw new BpfcacheError("INTERNAL", "an image was counted that is not there");
  return first.image;
}

function refuseTwoOfOneName<T>(where: string, named: readonly ImageWithReference<T>[]): void {
  const seen = new Map<string, T>();
  for (const { reference, image } of named) {
    const name = reference.toString();
    const first = seen.get(name);
    if (first !== undefined && first !== image) {
      throw new BpfcacheError("INVALID_IMAGE", `${where} gives the name ${name} to two images`);
    }
    seen.set(name, image);
  }
}
