import type { Digest } from "../core/digest.js";
import type { Descriptor } from "./descriptor.js";
import type { ImageIndex } from "./manifest.js";

/** What BuildKit says of an entry of an index that is no image (moby/buildkit, docs/attestations/attestation-storage.md). */
const roleAnnotation = "vnd.docker.reference.type";
const subjectAnnotation = "vnd.docker.reference.digest";

/** Whether an entry of an index only belongs to an image, by BuildKit's word. */
export function belongsToImage({ annotations }: Descriptor): boolean {
  return annotations?.[roleAnnotation] !== undefined;
}

/** The entries of an index that attest one of its images: they name it here and nowhere else. */
export function attestationsOf({ manifests }: ImageIndex, subject: Digest): Descriptor[] {
  return manifests.filter(
    ({ annotations }) =>
      annotations?.[roleAnnotation] === "attestation-manifest" && annotations[subjectAnnotation] === subject,
  );
}
