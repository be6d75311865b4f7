import { type Digest, digestAlgorithm, digestHex } from "../../core/digest.js";
import type { Limits } from "../../core/limits.js";
import type { Descriptor } from "../../image/descriptor.js";
import { parseManifest } from "../../image/manifest.js";
import { mediaTypes } from "../../image/media-types.js";
import type { Endpoint } from "./endpoint.js";
import { RegistryFailure } from "./failure.js";
import { contentType, headerValues } from "./headers.js";
import { nextLink, pathOfNextPage } from "./next-link.js";
import type { RegistryClient, RegistryRequest } from "./registry-client.js";
import type { Answer, Call } from "./transport.js";

export interface ReferrersWanted {
  readonly endpoint: Endpoint;
  readonly subject: Digest;
  readonly artifactType?: string | undefined;
}

interface Page {
  readonly manifests: readonly Descriptor[];
  readonly next: string | undefined;
}

/** A list with more pages than this is a trap (oras-go#1215). */
const maxPages = 100;

/** Lists what refers to a manifest: signatures, attestations (distribution-spec, "Listing Referrers"). */
export class Referrers {
  /** Hosts found to know nothing of the API, which then costs no request any more. */
  readonly #withoutApi = new Set<string>();

  constructor(
    private readonly client: RegistryClient,
    private readonly limits: Limits,
  ) {}

  async list(wanted: ReferrersWanted, call: Call): Promise<readonly Descriptor[]> {
    const { host } = wanted.endpoint;
    const listed = this.#withoutApi.has(host) ? undefined : await this.#fromApi(wanted, call);
    if (listed === undefined) this.#withoutApi.add(host);
    const found: readonly Descriptor[] = listed ?? (await this.#fromTag(wanted, call));
    // A registry may ignore the filter, and the tag has none.
    const { artifactType } = wanted;
    return artifactType === undefined ? found : found.filter((entry) => entry.artifactType === artifactType);
  }

  /** Undefined when the registry has no such API. */
  async #fromApi(wanted: ReferrersWanted, call: Call): Promise<Descriptor[] | undefined> {
    const filter =
      wanted.artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(wanted.artifactType)}`;
    const found: Descriptor[] = [];
    let path: string | undefined = `referrers/${wanted.subject}${filter}`;
    for (let pages = 0; path !== undefined; pages += 1) {
      if (pages === maxPages) throw tooManyPages(wanted);
      // 404 is what the specification says; older registries call the path itself bad.
      const request: RegistryRequest = { ...indexRequest(wanted, path), accepts: [200, 400, 404, 405] };
      const page: Page | undefined = await this.client.perform(request, call, async (answer) => {
        if (answer.status === 200 && contentType(answer.headers) === mediaTypes.ociIndex) {
          return await this.#page(answer, wanted);
        }
        await answer.discard();
        return undefined;
      });
      if (page === undefined) return undefined;
      found.push(...page.manifests);
      path = page.next;
    }
    return found;
  }

  /** The fall-back: an index under a tag made of the subject's digest (distribution-spec, "Referrers Tag Schema"). */
  async #fromTag(wanted: ReferrersWanted, call: Call): Promise<readonly Descriptor[]> {
    const tag = `${digestAlgorithm(wanted.subject)}-${digestHex(wanted.subject).slice(0, 64)}`;
    const request: RegistryRequest = { ...indexRequest(wanted, `manifests/${tag}`), accepts: [200, 404] };
    return await this.client.perform(request, call, async (answer) => {
      if (answer.status === 200) return (await this.#page(answer, wanted)).manifests;
      await answer.discard();
      return [];
    });
  }

  async #page(answer: Answer, { subject, endpoint }: ReferrersWanted): Promise<Page> {
    const bytes = await answer.readAll(this.limits.manifestBytes);
    if (bytes === undefined) {
      throw new RegistryFailure(
        "INVALID_IMAGE",
        `${endpoint.host} sent too long a list of what refers to ${subject}`,
      );
    }
    const index = parseManifest(bytes, mediaTypes.ociIndex);
    const link = nextLink(headerValues(answer.headers, "link"));
    return {
      manifests: index.kind === "index" ? index.manifests : [],
      next:
        link === undefined
          ? undefined
          : pathOfNextPage(link, answer.url, `${endpoint.apiPath}/${endpoint.repository}/`),
    };
  }
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
