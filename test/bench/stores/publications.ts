import { type Digest, digestOf } from "../../../src/core/digest.js";
import type { Publication } from "../../../src/store/publish.js";
import { Store } from "../../../src/store/store.js";

const manifestType = "application/vnd.oci.image.manifest.v1+json";

/** About what a transaction may hold in memory while a large cache is made. */
const imagesAtATime = 1_000;

/**
 * An image that shares nothing with another, as it is handed to the store once all of it has been checked. Its layer is
 * about as large as one with such an object is.
 */
export function publicationOf(index: number, objectBytes = 300): Publication {
  const config = blob(`config ${index};`, 300);
  const layer = blob(`layer ${index};`, Math.max(300, Math.round(objectBytes / 3)));
  const object = blob(`object ${index};`, objectBytes);
  const manifest = { ...blob(`manifest ${index};`, 300), mediaType: manifestType };
  const byteOrder = "little" as const;
  const described = { mediaType: manifestType, size: 300 };
  return {
    ref: {
      reference: referenceOf(index),
      platform: "linux/amd64",
      source: "bench",
      pulledAt: index,
      checkedAt: index,
      platforms: [],
    },
    manifests: [manifest],
    image: {
      format: "container",
      platform: "linux/amd64",
      config: { digest: config.digest, ...described },
      layers: [{ digest: layer.digest, mediaType: manifestType, size: layer.bytes.length }],
      objects: [
        {
          name: "pass.o",
          digest: object.digest,
          size: objectBytes,
          layer: layer.digest,
          byteOrder,
          programs: [{ name: "pass", type: "xdp", section: "xdp" }],
        },
      ],
      labels: {},
      warnings: [],
    },
    config,
    layers: [layer],
    objects: [
      {
        ...object,
        facts: {
          byteOrder,
          sections: [],
          programs: [],
          maps: [],
          globals: [],
          hasBtf: false,
          coreRelocations: 0,
          problems: [],
        },
      },
    ],
  };
}

export function referenceOf(index: number): string {
  return `registry.example/image-${index}:v1`;
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

function blob(text: string, length: number): { readonly digest: Digest; readonly bytes: Buffer } {
  const bytes = Buffer.alloc(length, text);
  return { digest: digestOf(bytes), bytes };
}
