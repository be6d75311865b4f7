import { parsePlatform } from "../../src/core/platform.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { type Content, content, descriptorOf, type ManifestJson, type TestImage } from "./image-builder.js";

const title = "org.opencontainers.image.title";

export interface ArtifactLayer {
  readonly mediaType: string;
  readonly bytes: Uint8Array | string;
  readonly title?: string;
}

export interface ArtifactOptions {
  readonly artifactType?: string;
  /** Default: the two bytes `{}` of the empty type. */
  readonly config?: ArtifactLayer;
  readonly layers?: readonly ArtifactLayer[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** What the artifact is about, by its digest. */
  readonly subject?: Content;
  /** The body's own mediaType; Inspektor Gadget leaves it out. */
  readonly withMediaType?: boolean;
  readonly editManifest?: (manifest: ManifestJson) => unknown;
}

/** A manifest over raw blobs, as `oras push` and other builders of artifacts write it. */
export function artifact(options: ArtifactOptions = {}): TestImage {
  const { withMediaType = true, config = { mediaType: mediaTypes.ociEmpty, bytes: "{}" } } = options;
  const blobs = [config, ...(options.layers ?? [])].map((layer) => ({
    layer,
    blob: content(Buffer.from(layer.bytes), layer.mediaType),
  }));
  const [configDescriptor = {}, ...layers] = blobs.map(({ layer, blob }) => ({
    ...descriptorOf(blob),
    ...(layer.title === undefined ? {} : { annotations: { [title]: layer.title } }),
  }));
  const manifestJson: ManifestJson = {
    schemaVersion: 2,
    ...(withMediaType ? { mediaType: mediaTypes.ociManifest } : {}),
    ...(options.artifactType === undefined ? {} : { artifactType: options.artifactType }),
    config: configDescriptor,
    layers,
    ...(options.subject === undefined ? {} : { subject: descriptorOf(options.subject) }),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  };
  const manifest = content(
    JSON.stringify(options.editManifest?.(manifestJson) ?? manifestJson),
    mediaTypes.ociManifest,
  );
  const contents = blobs.map(({ blob }) => blob);
  return {
    kind: "image",
    root: manifest,
    manifest,
    config: contents[0] ?? manifest,
    layers: contents.slice(1),
    platform: parsePlatform("linux/amd64"),
    manifests: new Map([[manifest.digest, manifest]]),
    blobs: new Map(contents.map(({ digest, bytes }) => [digest, bytes])),
  };
}

export const gadgetTypes = {
  artifact: "application/vnd.gadget.v1+binary",
  config: "application/vnd.gadget.config.v1+yaml",
  program: "application/vnd.gadget.ebpf.program.v1+binary",
  wasm: "application/vnd.gadget.wasm.program.v1+binary",
  btfgen: "application/vnd.gadget.btfgen.v1+binary",
} as const;

export interface GadgetOptions {
  readonly program?: Uint8Array;
  readonly yaml?: string | undefined;
  readonly more?: readonly ArtifactLayer[];
}

/** One platform of an Inspektor Gadget image: a manifest without a mediaType of its own. */
export function gadget({ program, yaml, more = [] }: GadgetOptions): TestImage {
  return artifact({
    artifactType: gadgetTypes.artifact,
    withMediaType: false,
    ...(yaml === undefined ? {} : { config: { mediaType: gadgetTypes.config, bytes: yaml } }),
    layers: [...(program === undefined ? [] : [{ mediaType: gadgetTypes.program, bytes: program }]), ...more],
    annotations: {
      "org.opencontainers.image.title": "trace",
      "org.opencontainers.image.url": "",
      "io.inspektor-gadget.builder.version": "v0.0.0",
    },
  });
}
