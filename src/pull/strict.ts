import { BpfcacheError } from "../core/errors.js";
import type { Reference } from "../core/reference.js";
import { requireAgreement } from "../image/formats/cross-check.js";
import { manifestDigestOf, type RootRecord } from "../store/records.js";
import type { Store } from "../store/store.js";

/** An image that was taken in without `strict` is held to it when it is asked for with it. */
export function requireStored(store: Store, record: RootRecord, reference: Reference): void {
  try {
    requireAgreement(store.image(manifestDigestOf(record))?.disagreements);
  } catch (error) {
    throw error instanceof BpfcacheError ? error.about(reference.toString()) : error;
  }
}
