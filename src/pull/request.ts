import type { Digest } from "../core/digest.js";
import type { EventSink } from "../core/events.js";
import type { Platform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import type { ImageSource } from "../source/image-source.js";
import type { GroupCommit } from "../store/group-commit.js";
import type { PublishedManifest } from "../store/publish.js";
import type { RefRecord, VerdictRecord } from "../store/records.js";
import type { PullPolicy } from "./policy.js";

export interface PullRequest {
  readonly reference: Reference;
  readonly platform: Platform;
  readonly policy: PullPolicy;
  readonly source: ImageSource;
  /** The root that the reference is to mean, whatever its source says of it today. */
  readonly lockedTo?: Digest | undefined;
  /** What the reference names, when that has been asked already. */
  readonly root?: ResolvedRoot | undefined;
  /** Under IfNotPresent: a reference that was checked longer ago is asked for again. */
  readonly maxAgeMs?: number | undefined;
  /** Whether a reference that is here may come to mean another image. True unless said otherwise. */
  readonly mayMoveReference?: boolean | undefined;
  /** Labels or metadata that do not fit the objects are INVALID_IMAGE, also of an image that is here already. */
  readonly strict?: boolean | undefined;
  /** Also keep what signs and attests the image. */
  readonly referrers?: boolean | undefined;
  /** Publish together with others that are taken in at the same time. */
  readonly group?: GroupCommit | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/** The root document with the validator it was served with; and where and when that was, if not from this source now. */
export type ResolvedRoot = PublishedManifest & {
  readonly etag?: string | undefined;
  readonly source?: string | undefined;
  readonly checkedAt?: number | undefined;
};

export interface PullOutcome {
  /** Where the bytes came from: the cache, or the source's name. */
  readonly from: string;
  /** Requests that were sent, tokens and redirects included. */
  readonly requests: number;
  readonly bytesFetched: number;
  readonly record: RefRecord;
  /** What the trust policy in force says of it; undefined when there is none. */
  readonly verdict?: VerdictRecord | undefined;
}

/** What the source is asked for: a lock names the digest, and leaves nothing to ask about a tag. */
export function askedReference({ reference, lockedTo }: PullRequest): Reference {
  return lockedTo === undefined ? reference : parseReference(`${reference.name}@${lockedTo}`);
}
