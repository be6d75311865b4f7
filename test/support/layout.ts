import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestRoot } from "./image-builder.js";

export interface LayoutEntry {
  /** Written as `org.opencontainers.image.ref.name`: a full reference or a bare tag; without it the entry has no name. */
  readonly name?: string;
  readonly root: TestRoot;
  /** Further annotations, such as `io.containerd.image.name`. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The files of an OCI image layout by path (image-spec, image-layout.md). Blob files are named by the keys of the maps. */
export function layoutFiles(entries: readonly LayoutEntry[]): Map<string, Uint8Array> {
  const blobs = entries.flatMap(({ root }) => [
    ...[...root.manifests].map(([digest, { bytes }]) => [digest, bytes] as const),
    ...root.blobs,
  ]);
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: entries.map(indexEntry),
  };
  return new Map<string, Uint8Array>([
    ...blobs.map(([digest, bytes]) => [`blobs/${digest.replace(":", "/")}`, bytes] as const),
    ["oci-layout", Buffer.from(JSON.stringify({ imageLayoutVersion: "1.0.0" }))],
    ["index.json", Buffer.from(JSON.stringify(index))],
  ]);
}

/** Writes an OCI image layout directory. */
export function writeLayout(directory: string, entries: readonly LayoutEntry[]): void {
  for (const [path, bytes] of layoutFiles(entries)) {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

function indexEntry({ name, root, annotations = {} }: LayoutEntry): unknown {
  const { mediaType, digest, size } = root.root;
  const named = name === undefined ? {} : { "org.opencontainers.image.ref.name": name };
  return { mediaType, digest, size, annotations: { ...named, ...annotations } };
}
