/** Query parameters of the registry protocol whose values are worth reading and give nothing away. */
const harmlessParameters = new Set(["scope", "service", "ns", "n", "last", "artifactType", "digest"]);

/**
 * A URL fit for messages, events and logs: object stores sign their URLs in the query and some registries put
 * a password before the host, so every value not known to be harmless is taken out.
 */
export function redactUrl(url: URL | string): string {
  const shown = new URL(url);
  shown.username = "";
  shown.password = "";
  shown.hash = "";
  const query = [...shown.searchParams].map(([name, value]) =>
    harmlessParameters.has(name) ? `${name}=${value}` : `${name}=***`,
  );
  shown.search = "";
  return query.length === 0 ? shown.href : `${shown.href}?${query.join("&")}`;
}

/** Text that came from elsewhere, made fit to print: no control characters, no signed URLs, no echoed Authorization. */
export function redactText(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replace(/\b(bearer|basic)\s+[\w+/=.~-]{8,}/gi, "$1 ***")
    .replace(/\bhttps?:\/\/[^\s"'<>]+/gi, (url) => (URL.canParse(url) ? redactUrl(url) : "a URL"))
    .trim();
}
