import type { ErrorCode } from "./errors.js";

/** What happens while images are taken in. A new kind or key may be added; `v` changes when one is taken away. */
export type CacheEvent = { readonly v: 1; readonly time: string } & CacheEventBody;

export type CacheEventBody =
  /** So many images more are about to be taken in or written out. */
  | { readonly event: "batch"; readonly images: number }
  /** The source is about to be asked what the reference names. */
  | { readonly event: "resolving"; readonly reference: string }
  /** The reference was found here; nothing is fetched. */
  | {
      readonly event: "hit";
      readonly reference: string;
      readonly digest: string;
      readonly reason: HitReason;
    }
  /** What is here does not answer: the source has to be asked, if the policy allows that. */
  | {
      readonly event: "miss";
      readonly reference: string;
      readonly reason: MissReason;
      /** When the source last confirmed what is here; absent when nothing is. */
      readonly checkedAt?: string;
    }
  /** Needed, and not asked for: it is in the cache, or another pull of this process is bringing it. */
  | {
      readonly event: "reused";
      readonly reference: string;
      readonly kind: ContentName;
      readonly digest: string;
      readonly bytes: number;
      readonly from: "cache" | "download";
    }
  /** An object has been hashed by this process, and is what a loader will be promised. */
  | {
      readonly event: "verified";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
    }
  /** The trust policy in force was asked of a root digest; what it says may have been decided long before. */
  | {
      readonly event: "decided";
      readonly reference: string;
      readonly digest: string;
      readonly decision: "accept" | "warn" | "reject";
      /** The scope of the rule that decided; null for the policy's default. */
      readonly rule: string | null;
      readonly reason: string;
      /** Whose signatures counted, as the policy names them. */
      readonly signers: readonly string[];
      /** The policy's fingerprint. */
      readonly policy: string;
      readonly decidedAt: string;
    }
  /** The source was asked what the reference names. */
  | {
      readonly event: "resolved";
      readonly reference: string;
      readonly digest: string;
      readonly unchanged: boolean;
      /** Of the document that the source sent. */
      readonly bytes: number;
    }
  | {
      readonly event: "fetching";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
    }
  /** Part of a blob has come; `bytes` counts from its beginning, out of `total`. */
  | {
      readonly event: "progress";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
      readonly total: number;
    }
  /** All of a blob has come and its digest is right. */
  | { readonly event: "fetched"; readonly reference: string; readonly digest: string; readonly bytes: number }
  /** The image is readable, by this and every other process. */
  | {
      readonly event: "published";
      readonly reference: string;
      readonly digest: string;
      readonly objects: number;
    }
  /** Another process has been fetching the same for a while; this one waits for what it publishes. */
  | { readonly event: "waiting"; readonly reference: string }
  | {
      readonly event: "failed";
      readonly reference: string;
      readonly code: ErrorCode;
      readonly message: string;
    }
  /** A round of a list that is followed has ended; the next begins in so many milliseconds. */
  | {
      readonly event: "followed";
      readonly images: number;
      /** Those of which something came. */
      readonly changed: number;
      readonly failed: number;
      readonly nextMs: number;
    }
  /** So much of an image is in an export, out of `total`; what images share is counted in each. */
  | {
      readonly event: "bundling";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
      readonly total: number;
    }
  /** A file has gone into an export; `bytes` counts all so far. */
  | { readonly event: "exporting"; readonly path: string; readonly bytes: number }
  /** The export is complete, and the image is in it. */
  | {
      readonly event: "exported";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
    }
  /** A loader was given an object. Only diagnostics channels tell of it. */
  | { readonly event: "read"; readonly reference: string; readonly digest: string; readonly bytes: number }
  | { readonly event: "removed"; readonly reference: string; readonly bytes: number }
  /** It was removed because the cache has a budget and something else needed the room. */
  | {
      readonly event: "evicted";
      readonly reference: string;
      readonly bytes: number;
      readonly reason: string;
    }
  /** A scrub goes on: rows and bytes looked at so far, and what was found damaged. */
  | {
      readonly event: "scrubbing";
      readonly step: string;
      readonly checked: number;
      readonly bytes: number;
      readonly damaged: number;
    }
  /** One HTTP exchange; secrets are already redacted from `url`. `status` is 0 when no answer came. */
  | {
      readonly event: "request";
      readonly reference?: string;
      readonly role: RequestRole;
      readonly method: string;
      readonly url: string;
      readonly status: number;
      readonly bytes: number;
      readonly milliseconds: number;
    }
  | {
      readonly event: "retry";
      readonly reference?: string;
      readonly url: string;
      readonly attempt: number;
      readonly delayMs: number;
      readonly reason: string;
      /** Why a mirror was passed over; absent when the same place is asked again. */
      readonly code?: ErrorCode;
    }
  /** The database was damaged when it was opened: its files are in `movedTo`, and the cache began anew. */
  | {
      readonly event: "recovered";
      readonly fault: string;
      readonly movedTo: string;
      /** How many references could still be read; they are remembered. */
      readonly references: number;
    }
  /** Something the user should know that changes nothing: a registry's Warning header, a suspicious label. */
  | { readonly event: "warning"; readonly reference?: string; readonly message: string };

/**
 * Why the cache answered: `fresh` the policy does not ask for what is here, `digest` what a digest names never changes,
 * `locked` it is what the lock says, `never` nothing may be asked, `shared` another process has just brought it.
 */
export type HitReason = (typeof hitReasons)[number];

export const hitReasons = ["fresh", "digest", "locked", "never", "shared"] as const;

/**
 * Why it did not: `absent` nothing is here, `policy` Always asks, `stale` it was checked longer ago than allowed,
 * `damaged` it is not what it was, `unapproved` the trust policy in force has not approved it, `locked` the lock says
 * something else, `platforms` only the source knows all of them.
 */
export type MissReason = (typeof missReasons)[number];

export const missReasons = [
  "absent",
  "policy",
  "stale",
  "damaged",
  "unapproved",
  "locked",
  "platforms",
] as const;

/** Whom an HTTP request went to: where it was sent on by one of the others, it is a `redirect`. */
export type RequestRole = (typeof requestRoles)[number];

export const requestRoles = ["registry", "mirror", "token", "redirect"] as const;

/** A part of an image; `image` is all of it, extracted. */
export type ContentName = "manifest" | "config" | "layer" | "image";

/** Receives events as they happen, in the same turn. It must not throw. */
export type EventSink = (event: CacheEvent) => void;

export function emit(sink: EventSink | undefined, body: CacheEventBody): void {
  sink?.({ v: 1, time: new Date().toISOString(), ...body });
}
