import { isReservedHost } from "./addresses.js";
import { RegistryFailure } from "./failure.js";

export interface RealmOwner {
  readonly host: string;
  /** The registry's own origin. */
  readonly origin: string;
  readonly isLocal: boolean;
}

/**
 * The token service a registry names, if it may be asked. A realm is where credentials go, and the registry's word
 * alone decides it, so a hostile one could send them in the clear or have us ask the cloud's metadata service
 * (CVE-2026-48978, CVE-2026-33540). Names are checked again when connecting. Throws UNAUTHORIZED.
 */
export function checkRealm(realm: string, owner: RealmOwner): URL {
  if (!URL.canParse(realm)) throw refused(owner, "is not a URL");
  const url = new URL(realm);
  if (url.username !== "" || url.password !== "") throw refused(owner, "has a password in it");
  if (url.origin === owner.origin) return url;
  const mayBePlain = owner.isLocal || owner.origin.startsWith("http:");
  if (url.protocol !== "https:" && !(url.protocol === "http:" && mayBePlain)) {
    throw refused(owner, `at ${url.host} is not https`);
  }
  if (!owner.isLocal && isReservedHost(url.hostname)) {
    throw refused(owner, `at ${url.host} is an address of this machine or link`);
  }
  url.hash = "";
  return url;
}

function refused(owner: RealmOwner, reason: string): RegistryFailure {
  return new RegistryFailure(
    "UNAUTHORIZED",
    `the token service that ${owner.host} names ${reason}; it was not asked`,
    {
      hint: "This is the registry's mistake, or somebody is in between; no credential was sent.",
    },
  );
}
