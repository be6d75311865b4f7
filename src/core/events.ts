import type { ErrorCode } from "./errors.js";

/** What happens while images are taken in. A new kind or key may be added; `v` changes when one is taken away. */
export type CacheEvent = { readonly v: 1; readonly time: string } & CacheEventBody;

export type CacheEventBody =
  /** So many images more are about to be taken in or written out. */
  | { readonly event: "batch"; readonly images: number }
  /** The source is about to be asked what the reference names. */
  | { readonly event: "resolving"; readonly reference: string }
  /** The reference was found here; nothing is fetched. */
  | { readonly event: "hit"; readonly reference: string; readonly digest: string }
  /** The source was asked what the reference names. */
  | {
      readonly event: "resolved";
      readonly reference: string;
      readonly digest: string;
      readonly unchanged: boolean;
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
  /** A file has gone into an export; `bytes` counts all so far. */
  | { readonly event: "exporting"; readonly path: string; readonly bytes: number }
  /** The export is complete, and the image is in it. */
  | {
      readonly event: "exported";
      readonly reference: string;
      readonly digest: string;
      readonly bytes: number;
    }
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

/** Receives events as they happen, in the same turn. It must not throw. */
export type EventSink = (event: CacheEvent) => void;

export function emit(sink: EventSink | undefined, body: CacheEventBody): void {
  sink?.({ v: 1, time: new Date().toISOString(), ...body });
}
