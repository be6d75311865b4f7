import { BpfcacheError } from "../../core/errors.js";

/** INVALID_IMAGE about a layer, told the way all messages of this folder are. */
export function refusal(reason: string, cause?: unknown): BpfcacheError {
  return new BpfcacheError("INVALID_IMAGE", `the layer is refused: ${reason}`, { cause });
}
