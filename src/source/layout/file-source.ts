import type { Reference } from "../../core/reference.js";
import type { ImageSource } from "../image-source.js";

/** Images in a file or a directory: a source that can say what it has. */
export interface FileSource extends ImageSource {
  readonly isLocal: true;

  /** Every image that has a name, in the file's order. */
  references(): readonly Reference[];
}
