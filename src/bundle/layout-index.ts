import { parseReference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import { mediaTypes } from "../image/media-types.js";
import type { ImageClosure } from "./closure.js";
import { compare } from "./selection.js";

/** A document that the index of a layout lists; `name` is a whole reference. */
interface Entry {
  readonly name: string | undefined;
  readonly descriptor: Pick<Descriptor, "mediaType" | "digest" | "size" | "artifactType">;
}

/**
 * The index.json of a layout (image-spec, image-layout.md). Names are written as containerd does: the whole reference
 * as `io.containerd.image.name`, which podman, docker and ctr read, and its bare tag as
 * `org.opencontainers.image.ref.name`, which is what skopeo, oras and buildah are given behind the path. Where two
 * images have the same tag, that annotation is the whole reference too, so that no name means two things.
 *
 * An image has one entry, its root: podman load and crane push take only a layout with a single one. What refers to an
 * image must be listed (oras finds it no other way), with a tag only if it names no subject.
 */
export function layoutIndex(closures: readonly ImageClosure[]): Buffer {
  const named = closures.map(({ image, root }) => ({ name: image.reference, descriptor: root }));
  const entries = uniqueEntries([...named, ...closures.flatMap(referrerEntries)]);
  const namesOfTag = new Map<string, Set<string>>();
  for (const { name } of entries) {
    const tag = tagOf(name);
    if (name !== undefined && tag !== undefined)
      namesOfTag.set(tag, (namesOfTag.get(tag) ?? new Set()).add(name));
  }
  const manifests = entries.map(({ name, descriptor }) => {
    const { mediaType, digest, size, artifactType } = descriptor;
    const tag = tagOf(name);
    const isUnique = tag !== undefined && namesOfTag.get(tag)?.size === 1;
    return {
      mediaType,
      ...(artifactType !== undefined && { artifactType }),
      digest,
      size,
      ...(name !== undefined && {
        annotations: {
          "io.containerd.image.name": name,
          "org.opencontainers.image.ref.name": isUnique ? tag : name,
        },
      }),
    };
  });
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  return Buffer.from(`${JSON.stringify(index, null, 2)}\n`);
}

function referrerEntries({ image, referrers }: ImageClosure): Entry[] {
  const repository = parseReference(image.reference).name;
  const listed = referrers.filter(({ isInIndex }) => !isInIndex);
  return listed.map(({ descriptor, tag }) => ({
    name: tag === undefined ? undefined : `${repository}:${tag}`,
    descriptor,
  }));
}

/** In order of the names, those without one last, then of the digests. */
function uniqueEntries(entries: readonly Entry[]): Entry[] {
  const unique = new Map(entries.map((entry) => [`${entry.name} ${entry.descriptor.digest}`, entry]));
  const last = "\uffff";
  return [...unique.values()].sort(
    (a, b) => compare(a.name ?? last, b.name ?? last) || compare(a.descriptor.digest, b.descriptor.digest),
  );
}

function tagOf(name: string | undefined): string | undefined {
  return name === undefined ? undefined : parseReference(name).tag;
}
