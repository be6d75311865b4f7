import { RegistryFailure } from "./failure.js";

const linkValue = /<([^>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s",;]*))*)/g;
const relNext = /;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=\s|;|$))/i;

/** The target of the link that leads to the next page (RFC 8288), or undefined on the last one. */
export function nextLink(headers: readonly string[]): string | undefined {
  for (const header of headers) {
    for (const [, target, parameters = ""] of header.matchAll(linkValue)) {
      if (relNext.test(parameters)) return target;
    }
  }
  return undefined;
}

/**
 * Where a next page is, below the path of the repository, such as `/v2/org/program/`. It must be of the same registry and repository as the page that
 * names it: following it elsewhere would carry Authorization there (GHSA-h7vf-4x9w-h99v). Throws UNREACHABLE.
 */
export function pathOfNextPage(link: string, page: URL, prefix: string): string {
  const next = URL.canParse(link, page.href) ? new URL(link, page) : undefined;
  if (next === undefined || next.origin !== page.origin || !next.pathname.startsWith(prefix)) {
    throw new RegistryFailure(
      "UNREACHABLE",
      `${page.host} puts the next page of a list elsewhere; it was not asked for`,
      {
        hint: "This is the registry's mistake, or somebody is in between; its operator can tell.",
      },
    );
  }
  return `${next.pathname.slice(prefix.length)}${next.search}`;
}
