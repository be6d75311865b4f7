import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { BytecodeCache } from "../../src/cache.js";
import { digestOf } from "../../src/core/digest.js";
import type { CacheOptions } from "../../src/options.js";
import { openTestCache, temporaryDirectory } from "../pull/support.js";
import { type TestRoot, writeLayout } from "../support/image-builder.js";

export type Images = Readonly<Record<string, TestRoot>>;

/** A cache with these images, taken in one after the other in the order given. */
export async function cacheWith(
  images: Images,
  { allPlatforms = false, ...options }: CacheOptions & { readonly allPlatforms?: boolean } = {},
): Promise<BytecodeCache> {
  const cache = await openTestCache(options);
  await seedImages(cache, images, { allPlatforms });
  return cache;
}

export async function seedImages(
  cache: BytecodeCache,
  images: Images,
  options: { readonly allPlatforms?: boolean; readonly platform?: string } = {},
): Promise<void> {
  for (const [name, root] of Object.entries(images)) {
    const layout = join(temporaryDirectory(), "layout");
    writeLayout(layout, [{ name, root }]);
    await seedPath(cache, layout, options);
  }
}

/** Seeds a layout; a failure is thrown. */
export async function seedPath(
  cache: BytecodeCache,
  path: string,
  options: { readonly allPlatforms?: boolean; readonly platform?: string; readonly overwrite?: boolean } = {},
): Promise<void> {
  const { failed } = await cache.seed([path], { jobs: 1, ...options });
  if (failed.length > 0) throw new Error(JSON.stringify(failed));
}

/** A path that nothing is at. */
export function newPath(name: string): string {
  return join(temporaryDirectory(), name);
}

/** Each file below a directory by its path, with the digest of its bytes. */
export function filesIn(directory: string): Record<string, string> {
  const paths = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  const files = paths.filter((path) => statSync(join(directory, path)).isFile());
  return Object.fromEntries(files.map((path) => [path, digestOf(readFileSync(join(directory, path)))]));
}

/** The digests of the blobs in a layout. */
export function blobsIn(directory: string): string[] {
  return Object.keys(filesIn(directory))
    .filter((path) => path.startsWith("blobs/"))
    .map((path) => path.slice("blobs/".length).replace("/", ":"));
}

export function readJson<T>(...path: readonly string[]): T {
  return JSON.parse(readFileSync(join(...path), "utf8")) as T;
}

export interface IndexJson {
  readonly manifests: readonly {
    readonly mediaType: string;
    readonly digest: string;
    readonly size: number;
    readonly artifactType?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
}
