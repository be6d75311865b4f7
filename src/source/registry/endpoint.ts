import { isLoopbackHost, isReservedHost } from "./addresses.js";

export type Scheme = "http:" | "https:";

/** Where the registry of a reference is asked. */
export interface Endpoint {
  /** The registry as references name it: credentials and tokens belong to this name. */
  readonly host: string;
  /** Where requests go, host[:port]. */
  readonly networkHost: string;
  /**
   * Schemes to try, in this order. A named host has one, so nothing can talk us down from https. A loopback host has
   * two: development registries there speak http, and going up to https when that fails gives nothing away.
   */
  readonly schemes: readonly [Scheme, ...Scheme[]];
  /** On this machine or link: then it may send us to others there. */
  readonly isLocal: boolean;
}

/** Docker Hub goes by one name and is served under another. */
const networkHosts: Readonly<Record<string, string>> = { "docker.io": "registry-1.docker.io" };

export function endpointOf(host: string, plainHttp: readonly string[]): Endpoint {
  const networkHost = networkHosts[host] ?? host;
  const hostname = new URL(`https://${networkHost}`).hostname;
  return {
    host,
    networkHost,
    schemes: schemesOf(host, hostname, plainHttp),
    isLocal: isReservedHost(hostname),
  };
}

/** `plainHttp` entries without a port stand for the host at any port. */
function schemesOf(
  host: string,
  hostname: string,
  plainHttp: readonly string[],
): readonly [Scheme, ...Scheme[]] {
  const isPlain = plainHttp.some((entry) => {
    const wanted = entry.toLowerCase();
    return wanted === host || wanted === hostname;
  });
  if (isPlain) return ["http:"];
  if (!isLoopbackHost(hostname) || host.endsWith(":443")) return ["https:"];
  return ["http:", "https:"];
}
