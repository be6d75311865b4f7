import { gunzipSync, gzipSync } from "node:zlib";
import type { Limits } from "../../src/core/limits.js";
import { extractImage } from "../../src/image/extract.js";
import { parseManifest } from "../../src/image/manifest.js";
import { customSection, wasmComponent, wasmModule } from "../support/wasm.js";
import { mutate, type Random } from "./mutate.js";
import { mutateJson } from "./mutate-json.js";
import { configs, gzips, manifests, objects, vocabulary } from "./seeds.js";

/** What belongs together: manifest, config, and what each of its layers is. */
type Image = readonly [manifest: Buffer, config: Buffer, layer: Buffer];

const [object = Buffer.alloc(0)] = objects;
const [layer = Buffer.alloc(0)] = gzips;
const [containerManifest = layer, dockerManifest = layer] = manifests;
const [config = layer, oldConfig = layer] = configs;

const gadgetMetadata = Buffer.from(`name: trace_open
description: "trace: files opened"
tracers: {open: {mapName: events, structName: event}}
params:
  ebpf:
    targ_pid: {key: pid, defaultValue: "0"}
anchors: &a [1, 2.5, 0x1f, ~, true, 2024-01-01]
again: *a
text: |
  several
  lines
? [complex, key]
: !!str value
`);

const module = wasmModule([customSection("name", Buffer.from("x")), customSection("bpf", object)]);

function artifact(configType: string, layerType: string, title?: string): Buffer {
  const digest = `sha256:${"b".repeat(64)}`;
  const annotations = title === undefined ? {} : { "org.opencontainers.image.title": title };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: { mediaType: configType, digest, size: 2 },
      layers: [{ mediaType: layerType, digest, size: 700, annotations }],
      annotations: { "org.opencontainers.image.ref.name": "v1" },
    }),
  );
}

const empty = "application/vnd.oci.empty.v1+json";
const gadget = artifact(
  "application/vnd.gadget.config.v1+yaml",
  "application/vnd.gadget.ebpf.program.v1+binary",
);

const images: readonly Image[] = [
  [containerManifest, config, layer],
  [dockerManifest, oldConfig, layer],
  [gadget, gadgetMetadata, object],
  [gadget, gadgetMetadata, object],
  [artifact(empty, "application/octet-stream", "xdp.o"), Buffer.from("{}"), object],
  [artifact(empty, "application/gzip", "dir/xdp.o.gz"), Buffer.from("{}"), gzipSync(object)],
  [artifact("application/vnd.wasm.config.v0+json", "application/wasm"), Buffer.from("{}"), module],
  [
    artifact(empty, "application/vnd.wasm.content.layer.v1+wasm"),
    Buffer.from("{}"),
    wasmComponent([{ id: 1, bytes: module }]),
  ],
  [
    artifact(
      "application/ebpf.oci.image.config.v1+json",
      "application/ebpf.oci.image.program.v1+binary",
      "program.o",
    ),
    config,
    object,
  ],
  [
    artifact(
      "application/vnd.cncf.falco.plugin.config.v1+json",
      "application/vnd.cncf.falco.plugin.layer.v1+tar.gz",
    ),
    Buffer.from('{"name": "plugin", "version": "1.0"}'),
    layer,
  ],
];

const layers = images.map(([, , bytes]) => bytes);

/** Manifest, config and layer one after the other, each behind its length; one of them, now and then all, a mutant. */
export function mutantImage(random: Random): Buffer {
  const image = images[random(images.length)] ?? [layer, layer, layer];
  const which = random(4);
  const parts = image.map((part, index) => (which === index || which === 3 ? mutant(part, random) : part));
  return Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(part.length);
      return [length, part];
    }),
  );
}

function mutant(part: Buffer, random: Random): Buffer {
  if (part[0] === 0x7b) return mutateJson(part, random, vocabulary);
  if (part === gadgetMetadata) return mutantYaml(random);
  // Changed inside its compression, where no checksum catches it.
  if (part[0] === 0x1f) return gzipSync(mutate(gunzipSync(part), random, objects), { level: 1 });
  return mutate(part, random, layers);
}

const yamlTokens: readonly string[] = [
  ..."- ? : , [ ] { } & * ! | > ' \" % @ ` # --- ... << *a &a !!binary !!map !<tag> ~ .inf 1e999 0o7".split(
    " ",
  ),
  "\n",
  "\n  ",
  "\n\t",
  "\n---\n",
  "__proto__",
  "- ".repeat(3_000),
  "? ".repeat(3_000),
  "[".repeat(5_000),
  "{a: ".repeat(3_000),
  "&b [*a, *a, *a, *a, *a, *a, *a, *a]",
  "!!set {a, b}",
];

function mutantYaml(random: Random): Buffer {
  if (random(2) === 0) return mutate(gadgetMetadata, random, []);
  const words = gadgetMetadata.toString("utf8").split(/(?<= )|(?= )|(?<=\n)|(?=\n)/);
  for (let left = 1 + random(5); left > 0; left--) {
    words.splice(random(words.length), random(3), yamlTokens[random(yamlTokens.length)] ?? "");
  }
  return Buffer.from(words.join(""));
}

const platform = { os: "linux", architecture: "amd64" } as const;

export async function readImage(input: Buffer, limits: Limits): Promise<void> {
  const parts: Buffer[] = [];
  for (let at = 0; at < input.length; ) {
    const length = input.readUInt32LE(at);
    parts.push(input.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  const [document = input, config = input, layer = input] = parts;
  const manifest = parseManifest(document, "");
  if (manifest.kind === "index") return;
  const layers = manifest.layers.slice(0, 4).map((descriptor) => ({ descriptor, bytes: layer }));
  await extractImage({ manifest, config, layers }, platform, { limits });
}
