import type { IncomingHttpHeaders } from "node:http";
import type { Digest } from "../core/digest.js";
import { parseReference, type Reference } from "../core/reference.js";
import type { Store } from "../store/store.js";
import { type Answer, failure, found, foundJson, notAllowed, refusal } from "./answer.js";
import { Blobs } from "./blobs.js";
import { answerCatalog, answerTags } from "./listings.js";
import { answerManifest, manifestDigest } from "./manifests.js";
import { answerPage } from "./page.js";
import { prometheusText, prometheusType } from "./prometheus.js";
import { answerReferrers } from "./referrers.js";

/** Fetches layers again that the image with this manifest digest was left without. */
export type RestoreLayers = (repository: Reference, manifest: Digest) => Promise<unknown>;

const contentRoute = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs|tags|referrers)\/(?<what>[^/]+)$/;

/**
 * Answers requests of the distribution protocol from the cache. A repository is named as in a reference,
 * `quay.io/org/program`, or without its host when the client says that in `?ns=`, as containerd's mirrors do; with
 * neither it is Docker Hub's.
 */
export class Registry {
  readonly #store: Store;
  readonly #blobs: Blobs;

  readonly #restoreLayers: RestoreLayers | undefined;

  constructor(store: Store, restoreLayers?: RestoreLayers) {
    this.#store = store;
    this.#restoreLayers = restoreLayers;
    this.#blobs = new Blobs(store);
  }

  /** Never throws. */
  async answer(method: string, target: string, requested: IncomingHttpHeaders): Promise<Answer> {
    try {
      if (method !== "GET" && method !== "HEAD") return notAllowed();
      const { pathname, searchParams } = new URL(target, "http://registry");
      if (pathname === "/") return answerPage(this.#store, searchParams);
      if (pathname === "/v2/" || pathname === "/v2") return foundJson({});
      if (pathname === "/metrics")
        return found(Buffer.from(prometheusText(this.#store.metrics())), prometheusType);
      if (pathname === "/v2/_catalog") return answerCatalog(this.#store, searchParams);
      return await this.#answerContent(decodeURIComponent(pathname), searchParams, requested);
    } catch (error) {
      return failure(error);
    }
  }

  async #answerContent(
    path: string,
    query: URLSearchParams,
    requested: IncomingHttpHeaders,
  ): Promise<Answer> {
    const { name, kind, what } = contentRoute.exec(path)?.groups ?? {};
    if (name === undefined || what === undefined) return noSuchEndpoint();
    const namespace = query.get("ns");
    const repository = parseReference(namespace === null ? name : `${namespace}/${name}`);
    if (kind === "blobs") return this.#blobs.answer(repository.name, what, requested);
    if (kind === "manifests") return this.#answerManifest(repository, what, requested["if-none-match"]);
    if (kind === "referrers") return answerReferrers(this.#store, repository.name, what, query);
    return what === "list" ? answerTags(this.#store, repository.name, name, query) : noSuchEndpoint();
  }

  async #answerManifest(
    repository: Reference,
    what: string,
    ifNoneMatch: string | undefined,
  ): Promise<Answer> {
    const digest = manifestDigest(this.#store, repository.name, what);
    if (digest !== undefined) await this.#makeWhole(repository, digest);
    return answerManifest(this.#store, { name: repository.name, what, digest }, ifNoneMatch);
  }

  /** Whoever gets a manifest asks for its layers next; prune may have dropped them. */
  async #makeWhole(repository: Reference, manifest: Digest): Promise<void> {
    if (this.#restoreLayers === undefined || (this.#store.droppedLayers(manifest) ?? []).length === 0) return;
    try {
      await this.#restoreLayers(repository, manifest);
    } catch {
      // Offline, say: the manifest can be had all the same, and the layer is answered with 404.
    }
  }
}

function noSuchEndpoint(): Answer {
  return refusal(404, "UNSUPPORTED", "no such endpoint");
}
