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

/** Writes an OCI image layout directory (image-spec, image-layout.md). Blob files are named by the keys of the maps. */
export function writeLayout(directory: string, entries: readonly LayoutEntry[]): void {
  const write = (path: string, bytes: Uint8Array | string): void => {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  };
  const writeBlob = (digest: string, bytes: Uint8Array): void =>
    write(`blobs/${digest.replace(":", "/")}`, bytes);

  for (const { root } of entries) {
    for (const [digest, { bytes }] of root.manifests) writeBlob(digest, bytes);
    for (const [digest, bytes] of root.blobs) writeBlob(digest, bytes);
  }
  write("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  write(
    "index.json",
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: entries.map(indexEntry),
    }),
  );
}

function indexEntry({ name, root, annotations = {} }: LayoutEntry): unknown {
  const { mediaType, digest, size } = root.root;
  const named = name === undefined ? {} : { "org.opencontainers.image.ref.name": name };
  return { mediaType, digest, size, annotations: { ...named, ...annotations } };
}
