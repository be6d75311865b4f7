import type { Publication } from "../../../src/store/publish.js";
import { Store } from "../../../src/store/store.js";
import { referenceOf as named, publicationOf as publicationWith } from "../../store/publications.js";

/** About what a transaction may hold in memory while a large cache is made. */
const imagesAtATime = 1_000;

/**
 * An image that shares nothing with another, as it is handed to the store once all of it has been checked. Its layer is
 * about as large as one with such an object is.
 */
export function publicationOf(index: number, objectBytes = 300): Publication {
  return publicationWith({
    name: nameOf(index),
    layers: [{ word: `layer ${index};`, bytes: Math.max(300, Math.round(objectBytes / 3)) }],
    objects: [{ word: `object ${index};`, bytes: objectBytes }],
    pulledAt: index,
  });
}

export function referenceOf(index: number): string {
  return named(nameOf(index));
}

function nameOf(index: number): string {
  return `image-${index}:v1`;
}

/** Makes a cache of so many images. */
export async function makeCache(directory: string, images: number, objectBytes?: number): Promise<void> {
  const store = Store.open({ directory });
  try {
    const group = store.groupCommit();
    for (let start = 0; start < images; start += imagesAtATime) {
      const count = Math.min(imagesAtATime, images - start);
      // What waits at the same time is committed together.
      await Promise.all(
        Array.from({ length: count }, (_, offset) =>
          group.join(() => group.run(() => store.publish(publicationOf(start + offset, objectBytes)), 4_096)),
        ),
      );
    }
  } finally {
    store.close();
  }
}
