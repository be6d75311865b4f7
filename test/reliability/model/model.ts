import type { ErrorCode } from "../../../src/core/errors.js";
import type { PlatformImage, PlatformName, PooledImage } from "./pool.js";
import { platforms } from "./pool.js";

export type Policy = "Always" | "IfNotPresent" | "Never";

/** What a cache should hold, as simply as it can be said: maps in memory. Failures are the codes they should have. */
export class Model {
  /** By reference, what the registry has. */
  readonly registry = new Map<string, PooledImage>();
  readonly #rows = new Map<string, PooledImage>();
  readonly #pins = new Set<string>();

  held(reference: string, platform: PlatformName): PooledImage | undefined {
    return this.#rows.get(key(reference, platform));
  }

  pull(reference: string, platform: PlatformName, policy: Policy): ErrorCode | undefined {
    if (policy !== "Always" && this.held(reference, platform) !== undefined) return undefined;
    if (policy === "Never") return "NOT_CACHED";
    const image = this.registry.get(reference);
    return image === undefined ? "NOT_FOUND" : this.#take(reference, platform, image);
  }

  seed(
    reference: string,
    platform: PlatformName,
    image: PooledImage,
    overwrite: boolean,
  ): ErrorCode | undefined {
    const held = this.held(reference, platform);
    if (!overwrite && held !== undefined && held !== image) return "USAGE";
    return this.#take(reference, platform, image);
  }

  /** What a digest means here, whatever the name: a root that is held for the platform, or a manifest that is held. */
  meansHere(digest: string, platform: PlatformName, pool: readonly PooledImage[]): PooledImage | undefined {
    for (const [row, image] of this.#rows)
      if (row.endsWith(` ${platform}`) && image.root.root.digest === digest) return image;
    const manifests = new Set(this.#images().map(({ manifest }) => manifest as string));
    return manifests.has(digest) ? pool.find(({ root }) => root.root.digest === digest) : undefined;
  }

  adopt(reference: string, platform: PlatformName, image: PooledImage): void {
    this.#rows.set(key(reference, platform), image);
  }

  remove(reference: string, platform: PlatformName | undefined): ErrorCode | undefined {
    const rows = (platform === undefined ? platforms : [platform])
      .map((name) => key(reference, name))
      .filter((row) => this.#rows.delete(row));
    if (rows.length === 0) return "NOT_CACHED";
    if (!this.#isHere(reference)) this.#pins.delete(reference);
    return undefined;
  }

  pin(reference: string, isPinned: boolean): ErrorCode | undefined {
    if (!this.#isHere(reference)) return "NOT_CACHED";
    if (isPinned) this.#pins.add(reference);
    else this.#pins.delete(reference);
    return undefined;
  }

  /** One line for each reference and platform, in order. */
  list(): string[] {
    return [...this.#rows]
      .map(([row, image]) => {
        const [reference = "", platform = ""] = row.split(" ");
        const { manifest, objects } = image.on[platform as PlatformName] as PlatformImage;
        return line(reference, platform, {
          rootDigest: image.root.root.digest,
          manifestDigest: manifest,
          pinned: this.#pins.has(reference),
          objects: objects.map(({ path }) => path),
        });
      })
      .sort();
  }

  references(): string[] {
    return [...new Set([...this.#rows.keys()].map((row) => row.split(" ")[0] ?? ""))];
  }

  #images(): PlatformImage[] {
    return [...this.#rows].flatMap(([row, { on }]) => on[row.split(" ")[1] as PlatformName] ?? []);
  }

  #take(reference: string, platform: PlatformName, image: PooledImage): ErrorCode | undefined {
    if (image.on[platform] === undefined) return "PLATFORM_MISMATCH";
    this.#rows.set(key(reference, platform), image);
    return undefined;
  }

  #isHere(reference: string): boolean {
    return platforms.some((platform) => this.#rows.has(key(reference, platform)));
  }
}

function key(reference: string, platform: PlatformName): string {
  return `${reference} ${platform}`;
}

/** What is compared of a listed image. */
export function line(
  reference: string,
  platform: string,
  image: {
    readonly rootDigest: string;
    readonly manifestDigest: string;
    readonly pinned: boolean;
    readonly objects: readonly string[];
  },
): string {
  const { rootDigest, manifestDigest, pinned, objects } = image;
  return [reference, platform, rootDigest, manifestDigest, pinned, ...[...objects].sort()].join(" ");
}
