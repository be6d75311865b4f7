import { mediaTypes } from "../../src/image/media-types.js";
import { Environment } from "../../src/store/environment.js";
import { hold } from "../../src/store/holders.js";
import { digestKey } from "../../src/store/keys.js";
import { encodeManifest } from "../../src/store/values.js";
import { type Content, content, descriptorOf } from "../support/image-builder.js";

export interface Statement {
  readonly artifactType: string;
  readonly about: Content;
  readonly manifest: Content;
  readonly blobs: readonly { readonly kind: "config" | "layer"; readonly blob: Content }[];
}

/** A referrer of OCI 1.1, which names its subject. */
export function attached(artifactType: string, about: Content, text: string): Statement {
  return statement(artifactType, about, text, { subject: descriptorOf(about) });
}

/** cosign's form of before OCI 1.1, found by its tag alone. */
export function tagged(layerType: string, about: Content, text: string): Statement {
  return statement(layerType, about, text, {});
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
  const environment = Environment.open({ directory });
  environment.commit(() => {
    for (const { artifactType, about, manifest, blobs } of statements) {
      const key = digestKey(manifest.digest);
      const row = Buffer.concat([digestKey(about.digest), Buffer.from(`${artifactType}\0`), key]);
      environment.tree("referrers").put(row, Buffer.of(1));
      environment.tree("manifests").put(key, encodeManifest(manifest.mediaType, manifest.bytes));
      for (const { kind, blob } of blobs) {
        environment.tree(kind === "config" ? "configs" : "layers").put(digestKey(blob.digest), blob.bytes);
        hold(environment, kind, blob.digest, key);
      }
    }
  });
  environment.close();
}
