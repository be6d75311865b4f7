import { BpfcacheError } from "../../core/errors.js";
import { Store } from "../../store/store.js";

/** None where there is no cache yet: at a prompt that is no failure. */
export function cachedReferences(directory: string): readonly string[] {
  try {
    const store = Store.open({ directory, readOnly: true });
    try {
      return store.referenceNames();
    } finally {
      store.close();
    }
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_CACHED") return [];
    throw error;
  }
}
