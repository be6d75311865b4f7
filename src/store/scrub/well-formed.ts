import type { Digest } from "../../core/digest.js";
import { readDigestKey } from "../keys.js";

/** The digest that a key begins with, if it does. */
export function digestIn(key: Buffer): Digest | undefined {
  return wellFormed(() => readDigestKey(key).digest);
}

/** What a key says; nothing where it is not written as it should be. */
export function wellFormed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
