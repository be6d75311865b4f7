import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Digest, digestAlgorithm, digestHex, parseDigest } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import type { Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import { manifestMediaTypes } from "../../image/media-types.js";
import type { Referrer } from "../image-source.js";
import type { OrasAccess } from "./oras-access.js";
import { toolFailed } from "./oras-failure.js";
import { makePrivateDirectory, removeDirectory } from "./private-directory.js";

/** What cosign makes of an image without the referrers API is under a tag made of the image's digest. */
const cosignSuffixes = [".sig", ".att", ".sbom"] as const;

/** What refers to manifests, through oras: it is asked for by itself, as `oras cp` of an image leaves it out. */
export class OrasReferrers {
  readonly #oras: OrasAccess;
  #directory: string | undefined;
  #count = 0;

  constructor(oras: OrasAccess) {
    this.#oras = oras;
  }

  /** By the API, the fall-back tag that oras knows by itself, and cosign's tags. A failure is not an empty list. */
  async list(reference: Reference, subject: Digest, signal: AbortSignal | undefined): Promise<Referrer[]> {
    const suffixes = digestAlgorithm(subject) === "sha256" ? cosignSuffixes : [];
    const tag = `${digestAlgorithm(subject)}-${digestHex(subject)}`;
    const [discovered, ...tagged] = await Promise.all([
      this.#discover(reference, subject, signal),
      ...suffixes.map((suffix) => this.#underTag(reference, `${tag}${suffix}`, signal)),
    ]);
    return [...new Map([...discovered, ...tagged.flat()].map((each) => [each.digest, each])).values()];
  }

  /** A manifest or blob by itself. Throws `otherwise` when oras cannot bring it. */
  async fetch(
    { host, name }: Reference,
    { digest, mediaType }: Descriptor,
    otherwise: BpfcacheError,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    this.#directory ??= makePrivateDirectory();
    const file = join(this.#directory, String(this.#count++));
    const kind = manifestMediaTypes.has(mediaType) ? "manifest" : "blob";
    const args = (flags: readonly string[]): string[] => [
      ...[kind, "fetch", ...flags],
      ...["--output", file, `${name}@${digest}`],
    ];
    try {
      await this.#oras.run("", host, args, signal);
      return readFileSync(file);
    } catch (error) {
      const isOrasFailure = error instanceof BpfcacheError && error.code !== "INTERRUPTED";
      throw isOrasFailure && error.code !== "UNREACHABLE" ? otherwise : error;
    } finally {
      rmSync(file, { force: true });
    }
  }

  close(): void {
    if (this.#directory !== undefined) removeDirectory(this.#directory);
    this.#directory = undefined;
  }

  async #discover({ host, name }: Reference, subject: Digest, signal?: AbortSignal): Promise<Referrer[]> {
    const args = (flags: readonly string[]): string[] => [
      ...["discover", "--format", "json", "--depth", "1"],
      ...[...flags, `${name}@${subject}`],
    ];
    const printed = parsePrinted(await this.#oras.run("", host, args, signal));
    const { referrers = [] } = printed as { referrers?: unknown };
    if (!Array.isArray(referrers)) throw toolFailed("it printed no list of referrers", "");
    return referrers.map(referrerOf);
  }

  async #underTag({ host, name }: Reference, tag: string, signal?: AbortSignal): Promise<Referrer[]> {
    const args = (flags: readonly string[]): string[] => [
      ...["manifest", "fetch", "--descriptor"],
      ...[...flags, `${name}:${tag}`],
    ];
    try {
      return [{ ...referrerOf(parsePrinted(await this.#oras.run("", host, args, signal))), tag }];
    } catch (error) {
      if (error instanceof BpfcacheError && error.code === "NOT_FOUND") return [];
      throw error;
    }
  }
}

function parsePrinted(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw toolFailed("what it printed is not JSON", text, cause);
  }
}

function referrerOf(printed: unknown): Referrer {
  const { mediaType, digest, size, artifactType } = Object(printed) as Readonly<Record<string, unknown>>;
  if (typeof mediaType !== "string" || typeof digest !== "string" || typeof size !== "number")
    throw toolFailed("it printed something else than a descriptor", "");
  const type = typeof artifactType === "string" ? artifactType : undefined;
  return { mediaType, digest: parseDigest(digest), size, artifactType: type };
}
