import type { Reference } from "../../core/reference.js";
import type { HostCertificates } from "../registry/host-certificates.js";

export type Scheme = "http:" | "https:";

/**
 * What a place may be asked for, and is trusted with: content by its digest, what a tag names, who refers to a digest.
 * The words are those of containerd's hosts.toml; pushing is not ours.
 */
export type Capability = "pull" | "resolve" | "referrers";

export const allCapabilities: ReadonlySet<Capability> = new Set(["pull", "resolve", "referrers"]);

/** How to connect to one host, where that differs from all others. Equal settings are one object. */
export interface ConnectionSettings extends HostCertificates {
  /** The host need not show who it is. */
  readonly skipsVerification: boolean;
  readonly connectTimeoutMs?: number | undefined;
  /** The URL of an HTTP proxy to use instead of what the environment says. */
  readonly proxy?: string | undefined;
}

/** One place where the repository of a reference may be asked for: a mirror, or the registry itself. */
export interface Location {
  /** host[:port]. Credentials and tokens for this place are filed under this name, and no other's are sent there. */
  readonly host: string;
  readonly repository: string;
  /** Schemes to try, in this order; undefined leaves it to the client's own rules for the host. */
  readonly schemes?: readonly [Scheme, ...Scheme[]] | undefined;
  /** What stands between the host and the repository: `/v2`, unless the configuration says otherwise. */
  readonly apiPath: string;
  /** The registry on whose behalf this place is asked, when it has to be told: sent as `ns=`. */
  readonly namespace?: string | undefined;
  readonly capabilities: ReadonlySet<Capability>;
  /** Sent to this host and to no other. Names are lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly connection?: ConnectionSettings | undefined;
}

/** Where a reference is asked for when nothing is configured: at the registry that it names. */
export function ownLocation({ host, repository }: Pick<Reference, "host" | "repository">): Location {
  return { host, repository, apiPath: "/v2", capabilities: allCapabilities };
}
