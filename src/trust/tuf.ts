import { BpfcacheError } from "../core/errors.js";

export interface Mirror {
  readonly url: string;
  /** The mirror's own first root of trust; that of Sigstore's public instance is built in. */
  readonly rootPath: string | undefined;
  /** Where what the mirror has signed is kept, so that it cannot go back to an older state. */
  readonly cachePath: string;
}

/** The trusted root as the mirror has it now, checked by The Update Framework. Throws UNREACHABLE. */
export async function fetchTrustedRoot({ url, rootPath, cachePath }: Mirror): Promise<unknown> {
  const { getTrustedRoot } = await import("@sigstore/tuf");
  const { TrustedRoot } = await import("@sigstore/protobuf-specs");
  try {
    const place = rootPath === undefined ? {} : { rootPath };
    return TrustedRoot.toJSON(await getTrustedRoot({ mirrorURL: url, cachePath, ...place }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("UNREACHABLE", `Sigstore's trusted root cannot be had from ${url}: ${reason}`, {
      cause,
      hint: "Where that cannot be reached, name a file with --trusted-root.",
    });
  }
}
