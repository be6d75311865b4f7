import { type Digest, digestAlgorithm, digestHex, digestOf } from "../../core/digest.js";
import type { Limits } from "../../core/limits.js";
import type { Descriptor } from "../../image/descriptor.js";
import { parseManifest } from "../../image/manifest.js";
import { acceptedManifests, mediaTypes } from "../../image/media-types.js";
import { cosignTagsOf } from "../cosign-tags.js";
import type { Referrer } from "../image-source.js";
import type { Endpoint } from "./endpoint.js";
import { errorCodesIn } from "./error-body.js";
import { RegistryFailure } from "./failure.js";
import { contentType, headerValues } from "./headers.js";
import { nextLink, pathOfNextPage } from "./next-link.js";
import type { RegistryClient, RegistryRequest } from "./registry-client.js";
import type { Answer, Call } from "./transport.js";

export interface ReferrersWanted {
  readonly endpoint: Endpoint;
  readonly subject: Digest;
}

interface Page {
  readonly manifests: readonly Descriptor[];
  readonly next: string | undefined;
}

/** A list with more pages than this is a trap (oras-go#1215). */
const maxPages = 100;

/** Finds what refers to a manifest: signatures, attestations, SBOMs (distribution-spec, "Listing Referrers"). */
export class Referrers {
  /** Hosts found to know nothing of the API, which then costs no request any more. */
  readonly #withoutApi = new Set<string>();

  constructor(
    private readonly client: RegistryClient,
    private readonly limits: Limits,
  ) {}

  /**
   * What all the routes lead to, each once. They are asked at the same time, but for the fall-back tag, which takes the
   * API's place. The first that fails ends the others: half an answer is none. A list is read to one entry more than the
   * limit, so that the reader can tell that there are too many.
   */
  async list(wanted: ReferrersWanted, call: Call): Promise<readonly Referrer[]> {
    const failed = new AbortController();
    const signal = call.signal === undefined ? failed.signal : AbortSignal.any([call.signal, failed.signal]);
    const together = { ...call, signal };
    try {
      const [listed, ...tagged] = await Promise.all([
        this.#listed(wanted, together),
        ...cosignTagsOf(wanted.subject).map((tag) => this.#underTag(wanted, tag, together)),
      ]);
      return eachOnce([...tagged.flat(), ...listed]);
    } catch (error) {
      failed.abort();
      throw error;
    }
  }

  async #listed(wanted: ReferrersWanted, call: Call): Promise<readonly Descriptor[]> {
    const listed = this.#withoutApi.has(wanted.endpoint.host) ? undefined : await this.#fromApi(wanted, call);
    return listed ?? (await this.#fromFallbackTag(wanted, call));
  }

  /** Undefined when the registry has no such API. */
  async #fromApi(wanted: ReferrersWanted, call: Call): Promise<Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    let path: string | undefined = `referrers/${wanted.subject}`;
    for (let pages = 0; path !== undefined && found.length <= this.limits.referrers; pages += 1) {
      if (pages === maxPages) throw tooManyPages(wanted);
      // 404 is what the specification says; older registries call the path itself bad.
      const isFirst = pages === 0;
      const accepts = isFirst ? [200, 400, 404, 405] : [200];
      const request: RegistryRequest = { ...indexRequest(wanted, path), accepts };
      const page: Page | undefined = await this.client.perform(request, call, async (answer) => {
        const isList = answer.status === 200 && contentType(answer.headers) === mediaTypes.ociIndex;
        if (isList || !isFirst) return await this.#page(answer, wanted);
        await this.#noteWithoutApi(answer, wanted.endpoint.host);
        return undefined;
      });
      if (page === undefined) return undefined;
      found.push(...page.manifests);
      path = page.next;
    }
    return found;
  }

  /** A registry without the repository says 404 too, and that says nothing of the API. */
  async #noteWithoutApi(answer: Answer, host: string): Promise<void> {
    const codes = errorCodesIn(await answer.keepBeginning(this.limits.errorBodyBytes));
    if (!codes.includes("NAME_UNKNOWN")) this.#withoutApi.add(host);
  }

  /** An index under a tag made of the subject's digest (distribution-spec, "Referrers Tag Schema"). */
  async #fromFallbackTag(wanted: ReferrersWanted, call: Call): Promise<readonly Descriptor[]> {
    const request = indexRequest(wanted, `manifests/${tagOf(wanted.subject)}`);
    return await this.client.perform({ ...request, accepts: [200, 404] }, call, async (answer) => {
      if (answer.status === 200) return (await this.#page(answer, wanted)).manifests;
      await answer.discard();
      return [];
    });
  }

  /** The tag may move at any time: what it names now is taken with its bytes, in one request. */
  async #underTag(wanted: ReferrersWanted, tag: string, call: Call): Promise<readonly Referrer[]> {
    const request: RegistryRequest = {
      ...indexRequest(wanted, `manifests/${tag}`),
      headers: { accept: acceptedManifests },
      accepts: [200, 404],
    };
    return await this.client.perform(request, call, async (answer) => {
      if (answer.status === 404) {
        await answer.discard();
        return [];
      }
      const bytes = await this.#bytes(answer, wanted);
      const mediaType = contentType(answer.headers) ?? "application/octet-stream";
      const data = Buffer.from(bytes).toString("base64");
      return [{ mediaType, digest: digestOf(bytes), size: bytes.byteLength, data, tag }];
    });
  }

  async #page(answer: Answer, wanted: ReferrersWanted): Promise<Page> {
    const index = parseManifest(await this.#bytes(answer, wanted), mediaTypes.ociIndex);
    const link = nextLink(headerValues(answer.headers, "link"));
    const { apiPath, repository } = wanted.endpoint;
    return {
      manifests: index.kind === "index" ? index.manifests : [],
      next: link === undefined ? undefined : pathOfNextPage(link, answer.url, `${apiPath}/${repository}/`),
    };
  }

  async #bytes(answer: Answer, { endpoint, subject }: ReferrersWanted): Promise<Uint8Array> {
    const bytes = await answer.readAll(this.limits.manifestBytes);
    if (bytes !== undefined) return bytes;
    throw new RegistryFailure(
      "INVALID_IMAGE",
      `${endpoint.host} sent too long a document about what refers to ${subject}`,
    );
  }
}

function eachOnce(found: readonly Referrer[]): readonly Referrer[] {
  const byDigest = new Map<Digest, Referrer>();
  for (const referrer of found) if (!byDigest.has(referrer.digest)) byDigest.set(referrer.digest, referrer);
  return [...byDigest.values()];
}

/** The subject's digest as a tag: at most 64 characters of the hash. */
function tagOf(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, 64)}`;
}

function indexRequest({ endpoint, subject }: ReferrersWanted, path: string): RegistryRequest {
  return {
    method: "GET",
    endpoint,
    path,
    headers: { accept: mediaTypes.ociIndex },
    accepts: [200],
    what: `list of what refers to ${subject}`,
  };
}

function tooManyPages({ endpoint, subject }: ReferrersWanted): RegistryFailure {
  return new RegistryFailure(
    "INVALID_IMAGE",
    `${endpoint.host} lists what refers to ${subject} on more than ${maxPages} pages`,
  );
}
