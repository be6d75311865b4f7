import type { Digest } from "../../../src/core/digest.js";
import {
  bytecodeImage,
  type Content,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  type TestRoot,
} from "../../support/image-builder.js";

export const platforms = ["linux/amd64", "linux/arm64"] as const;
export type PlatformName = (typeof platforms)[number];

/** A root with what it means on each platform it is for. An image without an index is for any of the same byte order. */
export interface PooledImage {
  readonly root: TestRoot;
  readonly on: Readonly<Record<PlatformName, PlatformImage | undefined>>;
}

export interface PlatformImage {
  readonly manifest: Digest;
  readonly config: Content;
  readonly layers: readonly Content[];
  readonly objects: readonly { readonly path: string; readonly bytes: Buffer }[];
}

/** Images that share much: objects of one are in others, children of indexes are images of their own too. */
export function makePool(): PooledImage[] {
  const common = object("common", 20_000);
  const plain = [0, 1, 2, 3].map((index) => [object(`plain_${index}`, 500 * 4 ** index)]);
  const images = [...plain, [common], [object("one", 100), common], [object("two", 30_000), common]].map(
    (objects) => ({ objects, image: bytecodeImage({ objects }) }),
  );
  const arms = [0, 1].map((index) => {
    const objects = index === 0 ? [common] : [object(`arm_${index}`, 5_000)];
    return { objects, image: bytecodeImage({ objects, platform: "linux/arm64" }) };
  });
  const single = images.map(({ objects, image }) => {
    const meant = meaning({ image, objects });
    return { root: image, on: { "linux/amd64": meant, "linux/arm64": meant } };
  });
  const [first, second, ...rest] = images;
  const indexes = [first, second, rest[0]].flatMap((amd, index) => {
    const arm = arms[index % arms.length];
    return amd === undefined || arm === undefined ? [] : [both(amd, arm), only(amd)];
  });
  return [...single, ...indexes];
}

interface Made {
  readonly objects: PlatformImage["objects"];
  readonly image: TestImage;
}

function both(amd: Made, arm: Made): PooledImage {
  return {
    root: imageIndex([{ image: amd.image }, { image: arm.image }]),
    on: { "linux/amd64": meaning(amd), "linux/arm64": meaning(arm) },
  };
}

function only(amd: Made): PooledImage {
  return {
    root: imageIndex([{ image: amd.image }]),
    on: { "linux/amd64": meaning(amd), "linux/arm64": undefined },
  };
}

function meaning({ image, objects }: Made): PlatformImage {
  const { manifest, config, layers } = image;
  return { manifest: manifest.digest, config, layers, objects };
}

function object(program: string, size: number): { path: string; bytes: Buffer } {
  const filling = Buffer.alloc(size, `${program} `);
  const bytes = minimalBpfElf({
    programs: [{ name: program }],
    sections: [{ name: ".rodata", bytes: filling }],
  });
  return { path: `${program}.o`, bytes };
}
