import type { Scheme } from "./location.js";
import { malformed } from "./toml-file.js";

/** A host of hosts.toml, taken apart. */
export interface HostUrl {
  readonly host: string;
  readonly scheme: Scheme;
  /** Other than the scheme's own. */
  readonly hasPort: boolean;
  readonly apiPath: string;
}

/** Docker Hub's names: all of them are one registry with one set of credentials. */
const dockerHub = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/**
 * `https://mirror.example[:port][/path]`, where https is meant if nothing is said. The API is at `/v2` below the path
 * unless `override_path` says that the path is all there is. Throws USAGE.
 */
export function parseHostUrl(text: string, overridesPath: boolean, file: string): HostUrl {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (text === "" || !URL.canParse(withScheme)) throw malformed(file, `${JSON.stringify(text)} is not a URL`);
  const { protocol, host, port, pathname, search, hash, username, password } = new URL(withScheme);
  if (protocol !== "http:" && protocol !== "https:") {
    throw malformed(file, `a host is asked over http or https, not ${protocol}`);
  }
  if (username !== "" || password !== "") {
    throw malformed(file, `the URL of ${host} has a password in it; those belong into a credentials file`);
  }
  if (search !== "" || hash !== "") {
    throw malformed(file, `the URL of ${host} has more than a path behind the host`);
  }
  return {
    host: dockerHub.has(host) ? "docker.io" : host,
    scheme: protocol,
    hasPort: port !== "",
    apiPath: apiPathOf(pathname, overridesPath),
  };
}

function apiPathOf(pathname: string, overridesPath: boolean): string {
  const path = pathname.replace(/\/{2,}/g, "/").replace(/\/$/, "");
  return overridesPath || path.endsWith("/v2") ? path : `${path}/v2`;
}
