import type { Digest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { notCached } from "../store/bytecode.js";
import { rootDigestOf } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { Decision } from "../trust/decide.js";
import type { Trust } from "../trust/trust.js";
import { Content, type Downloads } from "./content.js";
import { Decider } from "./decider.js";
import { noSource } from "./repair.js";
import type { PullRequest } from "./request.js";

/** What a trust policy says of an image, and why: the JSON document `verify`. */
export interface Verification extends Decision {
  readonly reference: string;
  readonly rootDigest: Digest;
  /** Whether the image is in the cache. */
  readonly isCached: boolean;
  readonly requests: number;
  readonly bytesFetched: number;
}

/**
 * Decides anew, whatever was decided before: on what is here, or, when the image is not, on what the source says that
 * the reference names. Nothing of the image itself is fetched; signatures of one that is here are kept with it.
 */
export async function verifyImage(
  store: Store,
  limits: Limits,
  downloads: Downloads,
  trust: Trust,
  asked: PullRequest,
): Promise<Verification> {
  const { reference, policy } = asked;
  const request = policy === "Never" ? { ...asked, source: noSource(asked.source.name) } : asked;
  const content = new Content(store, limits, downloads, undefined, request);
  try {
    const root = await rootOf(store, request, content);
    throwIfAborted(request.signal);
    const decider = new Decider(store, limits, trust, content, request);
    const { decision, found } = await decider.decide(root.digest, root.bytes);
    const isCached = store.holds("manifest", root.digest);
    const verdict = trust.verdictOf(decision, root.digest);
    if (isCached && verdict !== undefined) store.approve({ verdict, referrers: found.referrers });
    const { requests, bytesFetched } = content;
    const about = { reference: reference.toString(), rootDigest: root.digest, isCached };
    return { ...about, ...decision, requests, bytesFetched };
  } finally {
    content.leave();
  }
}

async function rootOf(
  store: Store,
  { reference, platform, policy, source, signal, onEvent }: PullRequest,
  content: Content,
): Promise<{ readonly digest: Digest; readonly bytes?: Uint8Array }> {
  const known = policy === "Always" ? undefined : store.find(reference, platform);
  const digest = known === undefined ? reference.digest : rootDigestOf(known);
  const isHere = digest !== undefined && store.holds("manifest", digest);
  if (isHere) return { digest };
  if (policy === "Never") throw notCached(reference);
  const resolution = await source.resolve(reference, {
    signal,
    onEvent,
    onRequest: () => content.requests++,
  });
  if (resolution.unchanged)
    throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
  content.bytesFetched += resolution.bytes.byteLength;
  return { digest: resolution.descriptor.digest, bytes: resolution.bytes };
}
