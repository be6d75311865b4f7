import type { Digest } from "../core/digest.js";
import type { ProcessIdentity } from "../core/process-identity.js";

/** What a process that dies in the middle of a load leaves for the next one to go by. */
export interface LoadIntent {
  /** 16 random bytes in hexadecimal. */
  readonly loadId: string;
  readonly bootId: string;
  readonly owner: ProcessIdentity;
  /** The object that is held for it; none for a file. */
  readonly object?: Digest | undefined;
  /** The directory of bpffs that everything of this load is pinned in; nobody else puts anything there. */
  readonly directory: string;
  /** Files made for the tool that loads; gone in the end. */
  readonly staging: string;
  /** Those that the load is for, in order; what else the object has is unpinned. */
  readonly programs: readonly string[];
  /** Everything that the tool will have pinned when it is through. */
  readonly pinned: { readonly programs: readonly string[]; readonly maps: readonly string[] };
}
