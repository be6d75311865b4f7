import { readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";

/** What TLS with one registry needs beyond the public authorities. */
export interface HostCertificates {
  readonly ca: readonly string[];
  readonly cert: readonly string[];
  readonly key: readonly string[];
}

/** Where Podman and Docker keep them, in Podman's order (containers-certs.d(5)). */
export function certificateDirectories(environment: NodeJS.ProcessEnv): string[] {
  const home = environment["HOME"] || homedir();
  const config = environment["XDG_CONFIG_HOME"] || join(home, ".config");
  return [join(config, "containers", "certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d"];
}

/**
 * The first directory named after the registry (host, or host:port unless the port is 443): `*.crt` are authorities,
 * `NAME.cert` with `NAME.key` is a client certificate. Undefined when there is none. Throws USAGE for half a pair and
 * for what cannot be read.
 */
export function readHostCertificates(
  host: string,
  directories: readonly string[],
): HostCertificates | undefined {
  for (const directory of directories) {
    const path = join(directory, host);
    const names = namesIn(path);
    if (names === undefined) continue;
    const stems = names
      .filter((name) => name.endsWith(".cert"))
      .map((name) => name.slice(0, -".cert".length));
    const keyless = stems.find((stem) => !names.includes(`${stem}.key`));
    if (keyless !== undefined) {
      throw new BpfcacheError("USAGE", `${join(path, `${keyless}.cert`)} has no ${keyless}.key beside it`);
    }
    return {
      ca: names.filter((name) => name.endsWith(".crt")).map((name) => readCertificate(join(path, name))),
      cert: stems.map((stem) => readCertificate(join(path, `${stem}.cert`))),
      key: stems.map((stem) => readText(join(path, `${stem}.key`))),
    };
  }
  return undefined;
}

/** A PEM file with at least one certificate. Throws USAGE. */
export function readCertificate(path: string): string {
  const text = readText(path);
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new BpfcacheError("USAGE", `${path} holds no certificate in PEM form`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new BpfcacheError("USAGE", `the certificate file ${path} cannot be read`, { cause });
  }
}

function namesIn(path: string): string[] | undefined {
  try {
    return readdirSync(path).sort();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new BpfcacheError("USAGE", `the certificates in ${path} cannot be read (${code})`, { cause });
  }
}
