/**
 * How many characters of a reference a prefix of registries.conf or of a trust policy covers; undefined when it does
 * not match. `*.` in front stands for any subdomain. Podman lets `example.com` match `example.com:5000`, and says not to rely on it:
 * another port is another registry here.
 */
export function coveredBy(prefix: string, reference: string): number | undefined {
  const end = prefix.startsWith("*.") ? endOfSubdomain(prefix.slice(1), reference) : prefix.length;
  if (end === undefined) return undefined;
  if (!prefix.startsWith("*.") && !reference.startsWith(prefix)) return undefined;
  const next = reference[end];
  if (next === undefined || next === "/") return end;
  // Behind a repository, what follows is a tag or a digest; behind a host it is a port.
  return reference.slice(0, end).includes("/") && (next === ":" || next === "@") ? end : undefined;
}

/** Where `.example.com[/path]` ends in a reference whose host ends in `.example.com`. */
function endOfSubdomain(suffix: string, reference: string): number | undefined {
  const [domain = "", ...path] = suffix.split("/");
  const slash = reference.indexOf("/");
  const host = slash < 0 ? reference : reference.slice(0, slash);
  // With a path behind it, the domain has to be all of the host's end; else an equal one may come earlier in it.
  if (!host.endsWith(domain) || host.length === domain.length) return undefined;
  const end = host.length + (path.length === 0 ? 0 : path.join("/").length + 1);
  return reference.slice(host.length, end) === suffix.slice(domain.length) ? end : undefined;
}
