import { BpfcacheError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { OciLayoutSource } from "../source/oci-layout.js";

/**
 * Opens what is to be seeded. Throws NOT_FOUND when the path is no layout, and USAGE, naming the tags there are, when
 * some have no repository.
 */
export async function openSeed(
  path: string,
  repository: string | undefined,
  limits: Limits,
): Promise<OciLayoutSource> {
  const source = await OciLayoutSource.open(path, { repository, limits });
  if (source.bareTags.length > 0) {
    throw new BpfcacheError("USAGE", `${path} has tags without a repository: ${source.bareTags.join(", ")}`, {
      hint: "Name their repository with --as, for example --as quay.io/org/program.",
    });
  }
  if (source.list().length === 0) throw new BpfcacheError("NOT_FOUND", `${path} names no image`);
  return source;
}
