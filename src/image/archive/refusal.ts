import { BpfcacheError } from "../../core/errors.js";

/** INVALID_IMAGE about a tar archive, which is a layer unless whoever reads another one says so. */
export class ArchiveRefusal extends BpfcacheError {
  constructor(
    readonly reason: string,
    cause?: unknown,
  ) {
    super("INVALID_IMAGE", `the layer is refused: ${reason}`, { cause });
  }
}

/** INVALID_IMAGE about a layer, told the way all messages of this folder are. */
export function refusal(reason: string, cause?: unknown): ArchiveRefusal {
  return new ArchiveRefusal(reason, cause);
}
