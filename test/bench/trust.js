// What a read and a hit cost more under a trust policy that asks for a signature than under none. After a build:
//
//     node test/bench/trust.js

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCache } from "../../dist/open-cache.js";
import { openReader } from "../../dist/reader.js";

const reference = "registry.example/bpfcache/xdp-counter:v1";
const platform = "linux/amd64";
const runs = 2_000;
const rounds = 7;

/**
 * The example's layout with a signature beside the image; returns the policy that asks for it.
 *
 * @param {string} layout
 */
function signLayout(layout) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
  const root = index.manifests.find(
    (/** @type {{ annotations?: Record<string, string> }} */ { annotations }) =>
      Object.values(annotations ?? {}).includes(reference),
  );
  const image = { "docker-manifest-digest": root.digest };
  const critical = {
    identity: { "docker-reference": reference },
    image,
    type: "cosign container image signature",
  };
  const payload = add(layout, JSON.stringify({ critical, optional: null }));
  const config = add(layout, '{"architecture":"","os":"","rootfs":{}}');
  const signature = sign("sha256", payload.bytes, privateKey).toString("base64");
  const manifest = add(
    layout,
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config.about },
      layers: [
        {
          mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
          ...payload.about,
          annotations: { "dev.cosignproject.cosign/signature": signature },
        },
      ],
    }),
  );
  const name = `registry.example/bpfcache/xdp-counter:${root.digest.replace(":", "-")}.sig`;
  const annotations = { "org.opencontainers.image.ref.name": name };
  index.manifests.push({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    ...manifest.about,
    annotations,
  });
  writeFileSync(join(layout, "index.json"), JSON.stringify(index));
  const pem = publicKey.export({ type: "spki", format: "pem" });
  return `default = "reject"\n[[rule]]\nscope = "registry.example/bpfcache"\nkeys = [${JSON.stringify(pem)}]\n`;
}

/**
 * @param {string} layout
 * @param {string} text
 */
function add(layout, text) {
  const bytes = Buffer.from(text);
  const hex = createHash("sha256").update(bytes).digest("hex");
  writeFileSync(join(layout, "blobs", "sha256", hex), bytes);
  return { bytes, about: { digest: `sha256:${hex}`, size: bytes.length } };
}

/**
 * The microseconds of processor time of one run, in the quickest of rounds: what else the machine does adds to it.
 *
 * @param {Record<string, () => unknown>} actions
 */
async function compare(actions) {
  /** @type {Record<string, number[]>} */
  const times = {};
  for (let round = 0; round <= rounds; round++) {
    for (const [name, action] of Object.entries(actions)) {
      const started = process.cpuUsage();
      for (let run = 0; run < runs; run++) {
        const result = action();
        if (result instanceof Promise) await result;
      }
      const { user, system } = process.cpuUsage(started);
      const each = (user + system) / runs;
      if (round > 0) times[name] = [...(times[name] ?? []), each];
    }
  }
  for (const [name, found] of Object.entries(times)) {
    const least = Math.min(...found);
    console.log(`${name.padEnd(52)}${least.toFixed(1).padStart(8)} µs`);
  }
}

const directory = mkdtempSync(join(tmpdir(), "bpfcache-bench-"));
try {
  const layout = join(directory, "layout");
  cpSync(new URL("../../examples/layout", import.meta.url), layout, { recursive: true });
  const policy = signLayout(layout);
  const cachePath = join(directory, "cache");
  const trusting = await openCache({ directory: cachePath, platform, trust: { policy } });
  await trusting.seed([layout]); // The other images in it are not signed, and are refused.
  const plain = await openCache({ directory: cachePath, platform });
  const open = openReader({ directory: cachePath });
  const guarded = openReader({ directory: cachePath, trust: { policy } });
  const use = () => 1;
  await compare({
    "read without a copy, no policy": () => open.withBytecode(reference, use, { platform }),
    "read without a copy, policy asks for a signature": () =>
      guarded.withBytecode(reference, use, { platform }),
    "read with a copy, no policy": () => open.bytecode(reference, { platform }),
    "read with a copy, policy asks for a signature": () => guarded.bytecode(reference, { platform }),
    "pull of what is here, no policy": () => plain.pull(reference),
    "pull of what is here, policy asks for a signature": () => trusting.pull(reference),
  });
  const started = process.hrtime.bigint();
  const once = openReader({ directory: cachePath, trust: { policy } });
  once.bytecode(reference, { platform });
  console.log(
    `open and read once, verdict in the cache: ${Number(process.hrtime.bigint() - started) / 1_000} µs`,
  );
  for (const reader of [open, guarded, once]) reader.close();
  await plain.close();
  await trusting.close();
} finally {
  rmSync(directory, { recursive: true });
}
