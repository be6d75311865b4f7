import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";
import { goDurationMs } from "../registry/backoff.js";
import { readCertificate } from "../registry/host-certificates.js";
import type { HostOptions } from "./hosts-schema.js";
import type { ConnectionSettings } from "./location.js";
import { malformed } from "./toml-file.js";

/** Where a hosts.toml is, and what its relative paths begin at. */
export interface HostsFilePlace {
  readonly file: string;
  readonly directory: string;
}

/** How to connect to a host of hosts.toml, or undefined when it says nothing about that. Throws USAGE. */
export function connectionOf(options: HostOptions, place: HostsFilePlace): ConnectionSettings | undefined {
  const { dial_timeout: dialTimeout, proxy } = options;
  if (!speaksOfTls(options) && dialTimeout === undefined && proxy === undefined) return undefined;
  const path = (name: string) => (isAbsolute(name) ? name : join(place.directory, name));
  const pairs = clientPairs(options.client).map(([cert, key]) => readPair(path(cert), path(key)));
  return {
    ca: namesOf(options.ca).map((name) => readCertificate(path(name))),
    cert: pairs.map(({ cert }) => cert),
    key: pairs.map(({ key }) => key),
    skipsVerification: options.skip_verify ?? false,
    connectTimeoutMs: dialTimeout === undefined ? undefined : parseTimeout(dialTimeout, place.file),
    proxy: proxy === undefined ? undefined : parseProxy(proxy, place.file),
  };
}

/** Whether a host is expected to speak TLS, whatever scheme its URL has. */
export function speaksOfTls({ ca, client, skip_verify }: HostOptions): boolean {
  return ca !== undefined || client !== undefined || skip_verify !== undefined;
}

function namesOf(names: string | readonly string[] | undefined): readonly string[] {
  return typeof names === "string" ? [names] : (names ?? []);
}

/** Certificate and key may share a file; then it is named once, or the key is left empty. */
function clientPairs(client: HostOptions["client"]): (readonly [string, string])[] {
  const entries = typeof client === "string" ? [client] : (client ?? []);
  return entries.map((entry) =>
    typeof entry === "string" ? [entry, entry] : [entry[0], entry[1] === "" ? entry[0] : entry[1]],
  );
}

function readPair(certPath: string, keyPath: string): { cert: string; key: string } {
  const key = readText(keyPath);
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(key)) return { cert: readCertificate(certPath), key };
  throw new BpfcacheError("USAGE", `${keyPath} holds no private key in PEM form`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new BpfcacheError("USAGE", `the key file ${path} cannot be read`, { cause });
  }
}

function parseTimeout(text: string, file: string): number {
  const ms = goDurationMs(text);
  if (ms === undefined || ms < 1) throw malformed(file, `${JSON.stringify(text)} is not a dial_timeout`);
  return ms;
}

function parseProxy(text: string, file: string): string {
  const { protocol, pathname, search } = URL.canParse(text) ? new URL(text) : {};
  const isPlain = pathname === "/" && search === "";
  if (isPlain && (protocol === "http:" || protocol === "https:")) return text;
  // containerd allows SOCKS too. To go there directly instead would be what the file forbids.
  throw malformed(file, "proxy is not the URL of an http or https proxy");
}
