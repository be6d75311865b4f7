import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Digest, digestAlgorithm, digestHex } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { Platform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import { type BuildInput, type BuiltImage, buildImage } from "../image/build.js";
import { mediaTypes } from "../image/media-types.js";
import type { OrasAccess } from "../source/oras/oras-access.js";
import { makePrivateDirectory, removeDirectory } from "../source/oras/private-directory.js";
import type { RootRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import { exportImages } from "./export.js";
import { type Referrer, referrersOf } from "./referrers.js";

/** What was published: the JSON document `push`. */
export interface PushedImage {
  readonly reference: string;
  readonly rootDigest: string;
}

/**
 * Builds an image from object files and publishes it under `to` through oras. Throws as `buildImage` and
 * `OrasAccess.run`, and USAGE for a reference with a digest, which is only known afterwards.
 */
export async function pushObjects(
  oras: OrasAccess,
  to: Reference,
  inputs: readonly BuildInput[],
  signal: AbortSignal | undefined,
): Promise<PushedImage> {
  requireTag(to);
  const image = await buildImage(inputs);
  return inPrivateDirectory(async (directory) => {
    writeLayout(directory, image);
    const { digest } = image.root;
    await publish(oras, { layout: directory, digest, to }, signal);
    return { reference: to.toString(), rootDigest: digest };
  });
}

export interface CachedPush {
  readonly reference: Reference;
  /** Where to; the image's own reference by default. */
  readonly to: Reference;
  readonly platform: Platform;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
}

/**
 * Publishes what is cached, with what refers to it. A registry takes an index only with all that it names: NOT_CACHED
 * says which platforms lack.
 */
export async function pushCached(
  oras: OrasAccess,
  store: Store,
  { reference, to, platform, limits, signal }: CachedPush,
): Promise<PushedImage> {
  requireTag(to);
  const rows = rowsOf(store, reference, platform);
  return inPrivateDirectory(async (directory) => {
    const layout = join(directory, "layout");
    const { images } = await exportImages(store, {
      output: layout,
      format: "oci-dir",
      references: [reference.toString()],
      platforms: undefined,
      defaultPlatform: platform,
      lockFile: join(directory, "lock.json"),
      since: undefined,
      mayOverwrite: false,
      limits,
      signal,
      onEvent: undefined,
    });
    const [image] = images;
    if (image === undefined) throw new BpfcacheError("INTERNAL", "nothing was exported");
    if (image.missing.length > 0) throw incomplete(reference, image.missing);
    const digest = image.rootDigest as Digest;
    await publish(oras, { layout, digest, to, withReferrers: true }, signal);
    for (const { descriptor, tag } of statementsUnderTags(store, rows)) {
      const statement = { layout, digest: descriptor.digest, to: parseReference(`${to.name}:${tag}`) };
      await publish(oras, statement, signal);
    }
    return { reference: to.toString(), rootDigest: digest };
  });
}

/** Throws NOT_CACHED. */
function rowsOf(store: Store, reference: Reference, platform: Platform): readonly RootRecord[] {
  const rows = store.references(reference);
  if (rows.length > 0) return rows;
  const found = store.find(reference, platform);
  if (found !== undefined) return [found];
  throw new BpfcacheError("NOT_CACHED", "the image is not in the cache", {
    reference: reference.toString(),
    hint: "Pull it first, or name the object files to make it of.",
  });
}

/** What only a tag ties to the image, cosign's older way: a recursive copy does not find it. */
function statementsUnderTags(store: Store, rows: readonly RootRecord[]): readonly Referrer[] {
  const subjects = new Set(rows.flatMap(({ chain }) => chain));
  const statements = [...subjects].flatMap((subject) => referrersOf(store, subject));
  return statements.filter(({ tag }) => tag !== undefined);
}

interface LayoutCopy {
  readonly layout: string;
  readonly digest: Digest;
  readonly to: Reference;
  readonly withReferrers?: boolean;
}

async function publish(
  oras: OrasAccess,
  { layout, digest, to, withReferrers = false }: LayoutCopy,
  signal: AbortSignal | undefined,
): Promise<void> {
  const args = (flags: readonly string[]): string[] => [
    ...["cp", "--no-tty", "--from-oci-layout"],
    ...(withReferrers ? ["--recursive"] : []),
    ...flags,
    `${layout}@${digest}`,
    to.toString(),
  ];
  await oras.run("to-", to.host, args, signal);
}

async function inPrivateDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = makePrivateDirectory();
  try {
    return await use(directory);
  } finally {
    removeDirectory(directory);
  }
}

function requireTag(to: Reference): void {
  if (to.digest === undefined) return;
  const reference = to.toString();
  throw new BpfcacheError("USAGE", "an image is pushed to a tag, not to a digest", { reference });
}

function incomplete(
  reference: Reference,
  missing: readonly { readonly platform: string | null; readonly digest: string }[],
): BpfcacheError {
  const names = missing
    .map(({ platform, digest }) => platform ?? digest)
    .sort()
    .join(", ");
  return new BpfcacheError("NOT_CACHED", `not all that its index names is cached: ${names}`, {
    reference: reference.toString(),
    hint: "Take it in whole first: bpfcache prefetch --platform all.",
  });
}

function writeLayout(directory: string, { root, content }: BuiltImage): void {
  const write = (path: string, bytes: string | Uint8Array): void =>
    writeFileSync(join(directory, path), bytes);
  mkdirSync(join(directory, "blobs", "sha256"), { recursive: true });
  for (const [digest, bytes] of content)
    write(join("blobs", digestAlgorithm(digest), digestHex(digest)), bytes);
  write("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [root] };
  write("index.json", JSON.stringify(index));
}
