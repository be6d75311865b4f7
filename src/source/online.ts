import { BpfcacheError } from "../core/errors.js";

/**
 * The gate of `--offline`. Whatever can open a connection, or runs a program that can, is only made behind it; the pull
 * policy, which is Never then, keeps all but mistakes from coming this far. Throws USAGE.
 */
export function requireOnline(options: { readonly offline?: boolean | undefined }, reference?: string): void {
  if (options.offline !== true) return;
  throw new BpfcacheError("USAGE", "this needs a connection, and --offline forbids it", { reference });
}
