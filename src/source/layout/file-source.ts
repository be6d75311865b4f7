import type { Digest } from "../../core/digest.js";
import type { Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import type { ImageSource, SourceOptions } from "../image-source.js";

/** Images in a file or a directory: a source that can say what it has. */
export interface FileSource extends ImageSource {
  /** Every image that has a name, in the file's order. */
  references(): readonly Reference[];

  /** What else there is that is about a manifest: signatures, attestations, SBOMs. */
  referrers(reference: Reference, subject: Digest, options?: SourceOptions): Promise<readonly Descriptor[]>;
}
