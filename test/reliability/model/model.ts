import { type Digest, digestOf } from "../../../src/core/digest.js";
import type { ErrorCode } from "../../../src/core/errors.js";
import { parseReference } from "../../../src/core/reference.js";
import type { PruneOptions } from "../../../src/store/prune.js";
import { encodeManifest } from "../../../src/store/values.js";
import type { PlatformImage, PlatformName, PooledImage } from "./pool.js";
import { platforms } from "./pool.js";

export type Policy = "Always" | "IfNotPresent" | "Never";

/** When each row, as `reference platform`, was pulled and its image last used, in the order of a list. */
export type Times = ReadonlyMap<string, { readonly pulledAt: number; readonly usedAt: number }>;

export interface Pruned {
  readonly removed: string[];
  readonly bytesFreed: number;
}

/** What a reference is to mean; undefined when it stays what it is. */
export interface Move {
  readonly reference: string;
  readonly image: PooledImage | undefined;
}

interface State {
  readonly rows: ReadonlyMap<string, PooledImage>;
  readonly pins: ReadonlySet<string>;
  readonly dropped: ReadonlyMap<Digest, Set<Digest>>;
}

/** From where on a cache evicts, and down to what. */
const [highMark, lowMark] = [0.9, 0.75];

/** What a cache should hold, as simply as it can be said: maps in memory. Failures are the codes they should have. */
export class Model {
  /** By reference, what the registry has. */
  readonly registry = new Map<string, PooledImage>();
  /** By repository, every blob that the registry has ever had. */
  readonly #blobs = new Map<string, Set<Digest>>();
  readonly #rows = new Map<string, PooledImage>();
  readonly #pins = new Set<string>();
  /** By manifest, the layers that it has lost to prune. */
  readonly #dropped = new Map<Digest, Set<Digest>>();

  /** The registry has the image under this name from now on. */
  publish(reference: string, image: PooledImage): void {
    this.registry.set(reference, image);
    const { name } = parseReference(reference);
    const blobs = this.#blobs.get(name) ?? new Set();
    this.#blobs.set(name, blobs);
    for (const digest of image.root.blobs.keys()) blobs.add(digest as Digest);
  }

  held(reference: string, platform: PlatformName): PooledImage | undefined {
    return this.#rows.get(key(reference, platform));
  }

  pull(reference: string, platform: PlatformName, policy: Policy): ErrorCode | undefined {
    if (policy !== "Always" && this.held(reference, platform) !== undefined) return undefined;
    if (policy === "Never") return "NOT_CACHED";
    const image = this.registry.get(reference);
    return image === undefined ? "NOT_FOUND" : this.#take(reference, platform, image);
  }

  /** What a pull would take. */
  asked(reference: string, platform: PlatformName, policy: Policy): PooledImage | undefined {
    if (policy === "Never" || (policy !== "Always" && this.held(reference, platform) !== undefined))
      return undefined;
    return this.registry.get(reference);
  }

  /**
   * The moves that may be made at the same time with one outcome. An image that lacks layers stays as it is when it is
   * taken under one name before it is let go of under the last other, and else comes back whole.
   */
  inAnyOrder<T extends Move>(moves: readonly T[], platform: PlatformName): T[] {
    const next = new Map(moves.map(({ reference, image }) => [key(reference, platform), image]));
    const staying = new Set<Digest>();
    for (const [row, image] of this.#rows) {
      const { manifest } = meaning(row, image);
      if ((next.get(row)?.on[platform]?.manifest ?? manifest) === manifest) staying.add(manifest);
    }
    return moves.filter(({ image }) => {
      const manifest = image?.on[platform]?.manifest;
      return manifest === undefined || !this.#dropped.has(manifest) || staying.has(manifest);
    });
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
    this.#take(reference, platform, image);
  }

  remove(reference: string, platform: PlatformName | undefined): ErrorCode | undefined {
    const rows = (platform === undefined ? platforms : [platform])
      .map((name) => key(reference, name))
      .filter((row) => this.#rows.delete(row));
    if (rows.length === 0) return "NOT_CACHED";
    if (!this.#isHere(reference)) this.#pins.delete(reference);
    this.#forget();
    return undefined;
  }

  /** What all of it takes: everything once. */
  bytes(): number {
    return sum(this.#content([...this.#rows]));
  }

  usage(): { readonly bytes: number; readonly uniqueBytes: number; readonly images: string[] } {
    const bytes = this.bytes();
    const images = [...this.#rows].map(([row, image]) => {
      const others = [...this.#rows].filter(([other]) => other !== row);
      return {
        row,
        bytes: sum(this.#content([[row, image]])),
        uniqueBytes: bytes - sum(this.#content(others)),
      };
    });
    return {
      bytes,
      uniqueBytes: images.reduce((total, { uniqueBytes }) => total + uniqueBytes, 0),
      images: images.map((image) => `${image.row} ${image.bytes} ${image.uniqueBytes}`),
    };
  }

  /** The layers of an image that are not here any more. */
  lacks({ manifest }: PlatformImage): Digest[] {
    return [...(this.#dropped.get(manifest) ?? [])];
  }

  /** Layers come back from other images, or from the reference's repository at the registry. */
  restore(reference: string, image: PlatformImage): ErrorCode | undefined {
    const elsewhere = this.#images().flatMap(({ manifest, layers }) =>
      layers.filter(({ digest }) => !this.#dropped.get(manifest)?.has(digest)).map(({ digest }) => digest),
    );
    const atRegistry = this.#blobs.get(parseReference(reference).name);
    const isThere = (digest: Digest): boolean =>
      elsewhere.includes(digest) || atRegistry?.has(digest) === true;
    if (!this.lacks(image).every(isThere)) return "NOT_FOUND";
    this.#dropped.delete(image.manifest);
    return undefined;
  }

  prune(options: PruneOptions, times: Times): Pruned {
    if (options.dryRun === true) return this.#undone(() => this.prune({ ...options, dryRun: false }, times));
    const { maxBytes, olderThanMs, keepLast, dropLayers } = options;
    const before = this.bytes();
    const removed: string[] = [];
    // The least recently used is as old as can be, or nothing is: what is between takes a clock.
    if (olderThanMs === 0) removed.push(...this.#evict(times, () => false, "age"));
    if (keepLast !== undefined) removed.push(...this.#superseded(times, keepLast));
    if (dropLayers === true) removed.push(...this.#drop());
    if (maxBytes !== undefined) removed.push(...this.#evict(times, () => this.bytes() <= maxBytes, "size"));
    return { removed, bytesFreed: before - this.bytes() };
  }

  /** A pull into a cache with a budget. */
  pullWithin(
    maxBytes: number,
    times: Times,
    { reference, platform, policy }: { reference: string; platform: PlatformName; policy: Policy },
  ): ErrorCode | undefined {
    const before = { bytes: this.bytes(), state: this.#state() };
    const code = this.pull(reference, platform, policy);
    if (this.bytes() <= before.bytes || this.bytes() <= Math.floor(maxBytes * highMark)) return code;
    const manifest = this.held(reference, platform)?.on[platform]?.manifest;
    this.#evict(times, () => this.bytes() <= Math.floor(maxBytes * lowMark), "size", manifest);
    if (this.bytes() <= maxBytes) return code;
    this.#goBackTo(before.state);
    return "CACHE_FULL";
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
    this.#forget();
    return undefined;
  }

  /** Removes images, the least recently used first: all rows of one, or none if one is pinned. */
  #evict(times: Times, isEnough: () => boolean, reason: string, except?: Digest): string[] {
    const usedAt = new Map<Digest, number>();
    for (const [row, image] of this.#rows) {
      const { manifest } = meaning(row, image);
      usedAt.set(manifest, times.get(row)?.usedAt ?? usedAt.get(manifest) ?? Number.POSITIVE_INFINITY);
    }
    const removed: string[] = [];
    for (const [manifest] of [...usedAt].sort(([a, at], [b, bt]) => at - bt || (a < b ? -1 : 1))) {
      if (isEnough()) break;
      const rows = [...this.#rows].filter(([row, image]) => meaning(row, image).manifest === manifest);
      if (manifest === except || rows.some(([row]) => this.#isPinned(row))) continue;
      removed.push(...rows.map(([row]) => this.#prune(row, reason)));
    }
    return removed;
  }

  #superseded(times: Times, keepLast: number): string[] {
    const repositories = new Map<string, Map<string, number>>();
    for (const [row, { pulledAt }] of times) {
      const [reference = ""] = row.split(" ");
      const { name } = parseReference(reference);
      const references = repositories.get(name) ?? new Map<string, number>();
      repositories.set(name, references.set(reference, Math.max(pulledAt, references.get(reference) ?? 0)));
    }
    const old = [...repositories.values()].flatMap((references) =>
      [...references].sort(([, at], [, bt]) => bt - at).slice(keepLast),
    );
    return old
      .flatMap(([reference]) => platforms.map((platform) => key(reference, platform)))
      .filter((row) => this.#rows.has(row) && !this.#isPinned(row))
      .map((row) => this.#prune(row, "keep-last"));
  }

  /** Each layer that no pinned image has. */
  #drop(): string[] {
    const kept = new Set<Digest>();
    const dropped = new Set<Digest>();
    for (const [row, image] of this.#rows) {
      const { manifest, layers } = meaning(row, image);
      for (const { digest } of layers) {
        if (this.#dropped.get(manifest)?.has(digest)) continue;
        dropped.add(digest);
        if (this.#isPinned(row)) kept.add(digest);
      }
    }
    for (const digest of kept) dropped.delete(digest);
    for (const { manifest, layers } of this.#images())
      for (const { digest } of layers)
        if (dropped.has(digest))
          this.#dropped.set(manifest, (this.#dropped.get(manifest) ?? new Set()).add(digest));
    return [...dropped].map((digest) => `${digest} layers`);
  }

  #prune(row: string, reason: string): string {
    this.#rows.delete(row);
    const [reference = ""] = row.split(" ");
    if (!this.#isHere(reference)) this.#pins.delete(reference);
    this.#forget();
    return `${row} ${reason}`;
  }

  /** An image that has gone comes back whole. */
  #forget(): void {
    const here = new Set(this.#images().map(({ manifest }) => manifest));
    for (const manifest of this.#dropped.keys()) if (!here.has(manifest)) this.#dropped.delete(manifest);
  }

  /** The size of everything that the rows need, by kind and digest. */
  #content(rows: readonly (readonly [string, PooledImage])[]): Map<string, number> {
    const sizes = new Map<string, number>();
    for (const [row, image] of rows) {
      const { manifest, config, layers, objects } = meaning(row, image);
      for (const digest of [image.root.root.digest, manifest]) {
        const document = image.root.manifests.get(digest);
        if (document !== undefined)
          sizes.set(`manifest ${digest}`, encodeManifest(document.mediaType, document.bytes).length);
      }
      sizes.set(`config ${config.digest}`, config.size);
      for (const { digest, size } of layers)
        if (!this.#dropped.get(manifest)?.has(digest)) sizes.set(`layer ${digest}`, size);
      for (const { bytes } of objects) sizes.set(`object ${digestOf(bytes)}`, bytes.length);
    }
    return sizes;
  }

  #isPinned(row: string): boolean {
    return this.#pins.has(row.split(" ")[0] ?? "");
  }

  #state(): State {
    const dropped = new Map([...this.#dropped].map(([manifest, layers]) => [manifest, new Set(layers)]));
    return { rows: new Map(this.#rows), pins: new Set(this.#pins), dropped };
  }

  #goBackTo({ rows, pins, dropped }: State): void {
    this.#rows.clear();
    for (const [row, image] of rows) this.#rows.set(row, image);
    this.#dropped.clear();
    for (const [manifest, layers] of dropped) this.#dropped.set(manifest, layers);
    this.#pins.clear();
    for (const pin of pins) this.#pins.add(pin);
  }

  #undone<T>(work: () => T): T {
    const state = this.#state();
    try {
      return work();
    } finally {
      this.#goBackTo(state);
    }
  }

  #isHere(reference: string): boolean {
    return platforms.some((platform) => this.#rows.has(key(reference, platform)));
  }
}

function meaning(row: string, { on }: PooledImage): PlatformImage {
  const meant = on[row.split(" ")[1] as PlatformName];
  if (meant === undefined) throw new Error(`${row} means nothing`);
  return meant;
}

function sum(sizes: ReadonlyMap<string, number>): number {
  return [...sizes.values()].reduce((total, size) => total + size, 0);
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
