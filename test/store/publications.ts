import { digestOf } from "../../src/core/digest.js";
import type { BpfObject } from "../../src/image/elf/bpf-object.js";
import type { Publication } from "../../src/store/publish.js";

export interface PublicationOptions {
  /** `repository:tag`. */
  readonly name: string;
  /** What is in the layers and objects, by a word and a size: images with the same share them. */
  readonly layers?: readonly Filling[];
  readonly objects?: readonly Filling[];
  readonly platform?: string;
  /** Milliseconds since 1970. */
  readonly pulledAt?: number;
  /** Puts the image behind an index of this text. */
  readonly index?: string;
}

export interface Filling {
  readonly word: string;
  readonly bytes: number;
}

const facts: BpfObject = {
  byteOrder: "little",
  sections: [],
  programs: [],
  maps: [],
  globals: [],
  hasBtf: false,
  coreRelocations: 0,
  problems: [],
};

/** An image that is the same for the same options: all that publication needs, and no more. */
export function publicationOf(options: PublicationOptions): Publication {
  const { name, platform = "linux/amd64", pulledAt = Date.now(), index } = options;
  const layers = (options.layers ?? [{ word: name, bytes: 600 }]).map(filled);
  const objects = (options.objects ?? [{ word: `${name} object`, bytes: 1_000 }]).map(filled);
  const config = blob(Buffer.from(`config of ${layers.map(({ digest }) => digest).join()}`));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(
    Buffer.from(
      JSON.stringify({
        config: config.digest,
        layers: layers.map(({ digest }) => digest),
        objects: objects.map(({ digest }) => digest),
      }),
    ),
  );
  const root = index === undefined ? undefined : blob(Buffer.from(`${index} ${manifest.digest}`));
  const manifests = [...(root === undefined ? [] : [root]), manifest].map((each) => ({ ...each, mediaType }));
  const entry = ({ digest, bytes }: { digest: typeof config.digest; bytes: Buffer }) => ({
    digest,
    mediaType,
    size: bytes.length,
  });
  return {
    ref: {
      reference: referenceOf(name),
      platform,
      source: "test",
      pulledAt,
      checkedAt: pulledAt,
      platforms: [],
    },
    manifests: manifests as unknown as Publication["manifests"],
    image: {
      format: "container",
      platform,
      config: entry(config),
      layers: layers.map(entry),
      objects: objects.map(({ digest, bytes }) => ({
        name: "pass.o",
        digest,
        size: bytes.length,
        layer: layers[0]?.digest ?? digest,
        byteOrder: "little",
        programs: facts.programs,
      })),
      labels: {},
      warnings: [],
    },
    config,
    layers,
    objects: objects.map((object) => ({ ...object, facts })),
  };
}

export function referenceOf(name: string): string {
  return `registry.example/${name}`;
}

function filled({ word, bytes }: Filling) {
  return blob(Buffer.alloc(bytes, word));
}

function blob(bytes: Buffer) {
  return { digest: digestOf(bytes), bytes };
}
