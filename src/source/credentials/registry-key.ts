/** Docker Hub's names in credential files, old and new (oras-go#966). */
const dockerHubNames = new Set([
  "docker.io",
  "index.docker.io",
  "registry-1.docker.io",
  "registry.hub.docker.com",
]);

/** A key of a credential file as `host[/namespace]`: without scheme, without the path of Docker's first protocols. */
export function normalizedKey(key: string): string {
  const bare = key
    .trim()
    .replace(/^https?:\/\//i, "")
    .replace(/\/+$/, "")
    .replace(/\/v[12]$/, "");
  const slash = bare.indexOf("/");
  const host = (slash < 0 ? bare : bare.slice(0, slash)).toLowerCase();
  const path = slash < 0 ? "" : bare.slice(slash);
  return `${dockerHubNames.has(host) ? "docker.io" : host}${path}`;
}

/** What a repository's credential may be filed under, most particular first (containers-auth.json(5)). */
export function keysFor(host: string, repository: string): string[] {
  const parts = repository.split("/");
  const namespaces = parts.map((_, index) => `${host}/${parts.slice(0, parts.length - index).join("/")}`);
  return [...namespaces, host];
}

/** The value filed under the most particular key; Kubernetes allows `*.example.com` among them. */
export function mostParticular<T>(
  filed: ReadonlyMap<string, T>,
  host: string,
  repository: string,
): T | undefined {
  const keys = keysFor(host, repository);
  for (const key of keys) {
    const value = filed.get(key);
    if (value !== undefined) return value;
  }
  for (const key of keys) {
    for (const [pattern, value] of filed)
      if (pattern.includes("*") && matchesGlob(pattern, key)) return value;
  }
  return undefined;
}

/** A star stands for anything within one label of the host name, as in Kubernetes' image pull secrets. */
function matchesGlob(pattern: string, key: string): boolean {
  const labels = pattern.split(".");
  const actual = key.split(".");
  return (
    labels.length === actual.length &&
    labels.every((label, index) => matchesLabel(label, actual[index] ?? ""))
  );
}

function matchesLabel(pattern: string, label: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return pattern === label;
  const last = rest.pop() ?? "";
  if (!label.startsWith(first) || label.length < first.length + last.length || !label.endsWith(last))
    return false;
  let at = first.length;
  for (const piece of rest) {
    const found = label.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= label.length - last.length;
}

/** What a helper program is asked for: Docker Hub's entry has the URL of its first protocol as its name. */
export function helperKey(host: string): string {
  return host === "docker.io" ? "https://index.docker.io/v1/" : host;
}
