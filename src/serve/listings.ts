import type { Store } from "../store/store.js";
import { type Answer, foundJson, refusal } from "./answer.js";

/** More than this in one answer is given in pages, asked for or not. */
const maxPage = 1_000;

/** distribution-spec, "Listing Tags". `repository` is its name here, `name` as the client called it. */
export function answerTags(store: Store, repository: string, name: string, query: URLSearchParams): Answer {
  const tags = store.tagsOf(repository);
  if (tags.length === 0) return refusal(404, "NAME_UNKNOWN", `this cache has nothing of ${name}`);
  const { page, link } = pageOf(tags, query, `/v2/${name}/tags/list`);
  return foundJson({ name, tags: page }, link);
}

/** distribution's `_catalog`: every repository here, with its host. */
export function answerCatalog(store: Store, query: URLSearchParams): Answer {
  const { page, link } = pageOf(store.repositories(), query, "/v2/_catalog");
  return foundJson({ repositories: page }, link);
}

/** The names after `last`, at most `n` of them, and a link to those that follow (RFC 8288). */
function pageOf(
  names: readonly string[],
  query: URLSearchParams,
  path: string,
): { page: readonly string[]; link: { link?: string } } {
  const last = query.get("last");
  const rest = last === null ? names : names.filter((name) => name > last);
  const count = pageSize(query.get("n"));
  const page = rest.slice(0, count);
  const end = page.at(-1);
  if (end === undefined || rest.length <= count) return { page, link: {} };
  const next = new URLSearchParams(query);
  next.set("n", String(count));
  next.set("last", end);
  return { page, link: { link: `<${path}?${next}>; rel="next"` } };
}

function pageSize(n: string | null): number {
  return n !== null && /^\d{1,9}$/.test(n) ? Math.min(Number(n), maxPage) : maxPage;
}
