import { type ArchiveRefusal, refusal } from "../refusal.js";

/** INVALID_IMAGE about a zstd stream; `what` says where RFC 8878 is broken. */
export function damaged(what: string): ArchiveRefusal {
  return refusal(`the zstd stream is damaged: ${what}`);
}

export function cutShort(): ArchiveRefusal {
  return refusal("the zstd stream is cut short");
}
