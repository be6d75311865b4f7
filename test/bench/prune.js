// What it costs to prune so many images from a cache of 1,000 and from one of 10,000: it should be the same. After a
// build:
//
//     node test/bench/prune.js [IMAGES…]

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "../../dist/core/digest.js";
import { Store } from "../../dist/store/store.js";

const removals = 50;
const runs = 7;

/** @param {Buffer} bytes */
function blob(bytes) {
  return { digest: digestOf(bytes), bytes };
}

/**
 * A small image that shares nothing with another.
 *
 * @param {number} index
 */
function publicationOf(index) {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const [config, layer, object] = ["config", "layer", "object"].map((part) =>
    blob(Buffer.alloc(300, `${part} ${index};`)),
  );
  if (config === undefined || layer === undefined || object === undefined) throw new Error("no content");
  const manifest = { ...blob(Buffer.from(`manifest ${index}`)), mediaType };
  const entry = {
    name: "pass.o",
    digest: object.digest,
    size: 300,
    layer: layer.digest,
    byteOrder: /** @type {const} */ ("little"),
    programs: [],
  };
  const facts = {
    byteOrder: /** @type {const} */ ("little"),
    sections: [],
    programs: [],
    maps: [],
    globals: [],
    hasBtf: false,
    coreRelocations: 0,
    problems: [],
  };
  return {
    ref: {
      reference: `registry.example/image-${index}:v1`,
      platform: "linux/amd64",
      source: "bench",
      pulledAt: index,
      checkedAt: index,
      platforms: [],
    },
    manifests: /** @type {[typeof manifest]} */ ([manifest]),
    image: {
      format: "container",
      platform: "linux/amd64",
      config: { digest: config.digest, mediaType, size: 300 },
      layers: [{ digest: layer.digest, mediaType, size: 300 }],
      objects: [entry],
      labels: {},
      warnings: [],
    },
    config,
    layers: [layer],
    objects: [{ ...object, facts }],
  };
}

/** @param {number} images */
async function measure(images) {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-bench-"));
  const store = Store.open({ directory });
  try {
    for (let index = 0; index < images; index++) store.publish(publicationOf(index));
    const bytesEach = store.usage().bytes / images;
    const times = [];
    for (let run = 0; run < runs; run++) {
      const maxBytes = Math.ceil(store.usage().bytes - removals * bytesEach);
      const started = performance.now();
      const { removed } = await store.prune({ maxBytes });
      times.push(performance.now() - started);
      if (Math.abs(removed.length - removals) > 1) throw new Error(`${removed.length} images were removed`);
    }
    times.sort((a, b) => a - b);
    return times[Math.floor(runs / 2)] ?? Number.NaN;
  } finally {
    store.close();
    rmSync(directory, { recursive: true });
  }
}

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1_000, 10_000];
for (const images of sizes) {
  const median = await measure(images);
  console.log(
    `${removals} of ${String(images).padStart(6)} images: median ${median.toFixed(1)} ms of ${runs} runs`,
  );
}
