import { mediaTypes } from "../../src/image/media-types.js";
import { Store } from "../../src/store/store.js";
import { type Content, content, descriptorOf } from "../support/image-builder.js";

export interface Statement {
  readonly artifactType: string;
  readonly about: Content;
  /** cosign's, for what does not name its subject itself. */
  readonly tag?: string;
  readonly manifest: Content;
  readonly blobs: readonly { readonly kind: "config" | "layer"; readonly blob: Content }[];
}

/** A referrer of OCI 1.1, which names its subject. */
export function attached(artifactType: string, about: Content, text: string): Statement {
  return statement(artifactType, about, text, { subject: descriptorOf(about) });
}

/** cosign's form of before OCI 1.1, found by its tag alone. */
export function tagged(layerType: string, about: Content, text: string): Statement {
  const ending = layerType.includes("in-toto") || layerType.includes("dsse") ? "att" : "sig";
  return { ...statement(layerType, about, text, {}), tag: `${about.digest.replace(":", "-")}.${ending}` };
}

function statement(type: string, about: Content, text: string, more: object): Statement {
  const config = content("{}", "subject" in more ? type : mediaTypes.ociConfig);
  const layer = content(text, type);
  const json = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptorOf(config) };
  const manifest = content(
    JSON.stringify({ ...json, layers: [descriptorOf(layer)], ...more }),
    mediaTypes.ociManifest,
  );
  const blobs = [
    { kind: "config", blob: config },
    { kind: "layer", blob: layer },
  ] as const;
  return { artifactType: type, about, manifest, blobs };
}

/** Keeps statements in the cache at a directory, as a pull that finds them does. */
export function keepStatements(directory: string, statements: readonly Statement[]): void {
  using store = Store.open({ directory });
  for (const { artifactType, about, manifest, blobs, tag } of statements) {
    const { digest, mediaType, size } = manifest;
    const record = {
      ...{ subject: about.digest, artifactType, digest, mediaType, size, tag },
      blobs: blobs.map(({ kind, blob }) => ({
        kind,
        digest: blob.digest,
        mediaType: blob.mediaType,
        size: blob.size,
      })),
    };
    store.putReferrers(about.digest, [
      { record, manifest: manifest.bytes, blobs: blobs.map(({ blob }) => blob.bytes) },
    ]);
  }
}
