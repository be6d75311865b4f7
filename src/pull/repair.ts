import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { parsePlatform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import type { ImageSource, SourceName } from "../source/image-source.js";
import type { LostReference } from "../store/lost.js";
import { type RefRecord, type RootRecord, rootDigestOf } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { Puller } from "./puller.js";
import type { PullOutcome, PullRequest, ResolvedRoot } from "./request.js";

/** What a pull is made from besides the image. */
type Circumstances = Pick<PullRequest, "source" | "signal" | "onEvent">;

/** Something that was here: what it is called, for what platform, and what it meant. */
interface Former {
  readonly reference: string;
  readonly platform: string;
  readonly rootDigest: Digest;
}

/**
 * A request for what was found damaged to be taken in again as what it was: its root is not asked for by name, so a
 * tag that has moved since stays where it is here. Only what is not here and sound is fetched, each by its digest;
 * when all is, no request is sent. Undefined when the root itself has to be asked for. Throws CACHE_CORRUPT when that
 * may not be.
 */
export function requestAsItWas(
  store: Store,
  request: PullRequest,
  record: RootRecord,
): PullRequest | undefined {
  const { reference, platform, policy } = request;
  const root = rootHere(store, record);
  if (root !== undefined) {
    const source = policy === "Never" ? noSource(request.source.name) : request.source;
    return { ...request, source, policy: "Always", root };
  }
  if (policy === "Never" && store.find(reference, platform) !== undefined) throw beyondRepair();
  return undefined;
}

/** Undefined when the source does not have any more what is missing here: what it has now must do. */
export async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

/** Takes in again, under its name, exactly what a reference meant. Throws what a pull does. */
export async function bringBack(
  puller: Puller,
  store: Store,
  former: Former,
  circumstances: Circumstances,
): Promise<PullOutcome> {
  const reference = parseReference(former.reference);
  const platform = parsePlatform(former.platform);
  const root =
    rootHere(store, store.findReference(reference, platform)) ??
    (await fetchRoot(reference, former.rootDigest, circumstances));
  return puller.pull({ ...circumstances, reference, platform, policy: "Always", root });
}

/** The same of a reference that had to be removed; by its name, when what it meant has gone from the source. */
export async function bringBackLost(
  puller: Puller,
  store: Store,
  { reference, platform, rootDigest }: LostReference,
  circumstances: Circumstances,
): Promise<PullOutcome> {
  const former = rootDigest && { reference, platform, rootDigest };
  const again = former && (await unlessGone(bringBack(puller, store, former, circumstances)));
  if (again !== undefined) return again;
  const name = { reference: parseReference(reference), platform: parsePlatform(platform) };
  return puller.pull({ ...circumstances, ...name, policy: "IfNotPresent" });
}

/** The root of something that is known here, as if it had just been asked for. */
function rootHere(store: Store, record: RootRecord | RefRecord | undefined): ResolvedRoot | undefined {
  if (record === undefined) return undefined;
  try {
    const digest = rootDigestOf(record);
    const held = store.manifest(digest);
    if (held === undefined || !("reference" in record)) return held && { digest, ...held };
    const { etag, source, checkedAt } = record;
    return { digest, ...held, etag, source, checkedAt };
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "CACHE_CORRUPT") return undefined;
    throw error;
  }
}

async function fetchRoot(
  reference: Reference,
  digest: Digest,
  { source, signal, onEvent }: Circumstances,
): Promise<ResolvedRoot> {
  const resolution = await source.resolve(parseReference(`${reference.name}@${digest}`), { signal, onEvent });
  if (resolution.unchanged)
    throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
  return { digest, mediaType: resolution.descriptor.mediaType, bytes: resolution.bytes };
}

/** In the place of a source that may not be asked. */
export function noSource(name: SourceName): ImageSource {
  const refuse = async (): Promise<never> => {
    throw beyondRepair();
  };
  return { name, resolve: refuse, fetch: refuse, close: async () => {} };
}

function beyondRepair(): BpfcacheError {
  return new BpfcacheError(
    "CACHE_CORRUPT",
    "the image is damaged in the cache, and nothing may be fetched to repair it",
    { hint: "Allow it to be fetched, or take it in from files with bpfcache seed." },
  );
}
