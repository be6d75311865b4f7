import type { Descriptor } from "../descriptor.js";
import type { ImageManifest } from "../manifest.js";
import type { Attachment } from "./format.js";
import { safeName } from "./object-names.js";

const title = "org.opencontainers.image.title";

/** What a layer of an artifact is called: oras writes each file's name into this annotation. */
export function titleOf({ annotations }: Descriptor): string | undefined {
  return safeName(annotations?.[title]);
}

/** A manifest's annotations in the place of labels; Inspektor Gadget writes those it knows no value for as "". */
export function annotationLabels({ annotations }: ImageManifest): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations ?? {}).filter(([, value]) => value !== ""));
}

export function attach(
  { mediaType, digest, size }: Descriptor,
  kind: Attachment["kind"],
  name: string,
): Attachment {
  return { name, mediaType, digest, size, kind };
}
