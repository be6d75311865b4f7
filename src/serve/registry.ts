import type { IncomingHttpHeaders } from "node:http";
import { parseReference } from "../core/reference.js";
import type { Store } from "../store/store.js";
import { type Answer, failure, foundJson, notAllowed, refusal } from "./answer.js";
import { Blobs } from "./blobs.js";
import { answerCatalog, answerTags } from "./listings.js";
import { answerManifest } from "./manifests.js";
import { answerPage } from "./page.js";

const contentRoute = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs|tags)\/(?<what>[^/]+)$/;

/**
 * Answers requests of the distribution protocol from the cache. A repository is named as in a reference,
 * `quay.io/org/program`, or without its host when the client says that in `?ns=`, as containerd's mirrors do; with
 * neither it is Docker Hub's.
 */
export class Registry {
  readonly #store: Store;
  readonly #blobs: Blobs;

  constructor(store: Store) {
    this.#store = store;
    this.#blobs = new Blobs(store);
  }

  /** Never throws. */
  answer(method: string, target: string, requested: IncomingHttpHeaders): Answer {
    try {
      if (method !== "GET" && method !== "HEAD") return notAllowed();
      const { pathname, searchParams } = new URL(target, "http://registry");
      if (pathname === "/") return answerPage(this.#store, searchParams);
      if (pathname === "/v2/" || pathname === "/v2") return foundJson({});
      if (pathname === "/v2/_catalog") return answerCatalog(this.#store, searchParams);
      return this.#answerContent(decodeURIComponent(pathname), searchParams, requested);
    } catch (error) {
      return failure(error);
    }
  }

  #answerContent(path: string, query: URLSearchParams, requested: IncomingHttpHeaders): Answer {
    const { name, kind, what } = contentRoute.exec(path)?.groups ?? {};
    if (name === undefined || what === undefined) return refusal(404, "UNSUPPORTED", "no such endpoint");
    const namespace = query.get("ns");
    const repository = parseReference(namespace === null ? name : `${namespace}/${name}`).name;
    if (kind === "blobs") return this.#blobs.answer(repository, what, requested);
    if (kind === "manifests")
      return answerManifest(this.#store, repository, what, requested["if-none-match"]);
    return what === "list"
      ? answerTags(this.#store, repository, name, query)
      : refusal(404, "UNSUPPORTED", "no such endpoint");
  }
}
