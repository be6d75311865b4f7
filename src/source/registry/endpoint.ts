import type { Location, Scheme } from "../locations/location.js";
import { isLoopbackHost, isReservedHost } from "./addresses.js";

/** A place where a repository is asked for, with all that the client has to know of it. */
export interface Endpoint extends Location {
  /** Where requests go, host[:port]. */
  readonly networkHost: string;
  /**
   * Schemes to try, in this order. A named host has one, so nothing can talk us down from https. A loopback host has
   * two: development registries there speak http, and going up to https when that fails gives nothing away; with an
   * authority of one's own they are likely to speak https. And so has a host that this machine's configuration calls
   * insecure, which is tried over https first.
   */
  readonly schemes: readonly [Scheme, ...Scheme[]];
  /** On this machine or link: then it may send us to others there. */
  readonly isLocal: boolean;
}

/** Docker Hub goes by one name and is served under another. */
const networkHosts: Readonly<Record<string, string>> = { "docker.io": "registry-1.docker.io" };

export interface SchemePreferences {
  /** Hosts that speak http only; without a port at any. */
  readonly plainHttp: readonly string[];
  /** Whether a registry on this machine is likely to speak https. */
  readonly isTlsLikely: boolean;
}

export function endpointOf(location: Location, preferences: SchemePreferences): Endpoint {
  const { host } = location;
  const networkHost = networkHosts[host] ?? host;
  const hostname = new URL(`https://${networkHost}`).hostname;
  return {
    ...location,
    networkHost,
    schemes: location.schemes ?? schemesOf(host, hostname, preferences),
    isLocal: isReservedHost(hostname),
  };
}

function schemesOf(
  host: string,
  hostname: string,
  { plainHttp, isTlsLikely }: SchemePreferences,
): readonly [Scheme, ...Scheme[]] {
  const isPlain = plainHttp.some((entry) => {
    const wanted = entry.toLowerCase();
    return wanted === host || wanted === hostname;
  });
  if (isPlain) return ["http:"];
  if (!isLoopbackHost(hostname) || host.endsWith(":443")) return ["https:"];
  return isTlsLikely ? ["https:", "http:"] : ["http:", "https:"];
}

/** The URL of something in the endpoint's repository; `path` may bring a query along. */
export function urlAt(endpoint: Endpoint, origin: string, path: string): URL {
  const url = new URL(`${origin}${endpoint.apiPath}/${endpoint.repository}/${path}`);
  const { namespace } = endpoint;
  if (namespace !== undefined && !url.searchParams.has("ns")) {
    // Appended as text: what a registry put into the query of a next page stays as it wrote it.
    url.search = `${url.search === "" ? "?" : `${url.search}&`}ns=${encodeURIComponent(namespace)}`;
  }
  return url;
}
