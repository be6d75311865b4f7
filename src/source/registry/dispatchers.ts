import { lookup as systemLookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent } from "undici";
import type { Limits } from "../../core/limits.js";
import type { ConnectionSettings } from "../locations/location.js";
import { isLoopbackHost, isReservedAddress } from "./addresses.js";
import { RegistryFailure } from "./failure.js";
import { type HostCertificates, readCertificate, readHostCertificates } from "./host-certificates.js";
import { SpareConnections } from "./spare-connections.js";

/** undici's default of 4 s costs a TLS handshake between the steps of one pull. */
const keepAliveMs = 60_000;
/** More than the puller ever has under way at one host: a stream that waits for its reader must not starve another. */
const connectionsPerOrigin = 16;

export interface DispatcherOptions {
  readonly limits: Limits;
  readonly caFile?: string | undefined;
  /** How names become addresses; the system's resolver unless a test says otherwise. */
  readonly lookup?: LookupFunction | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** Directories with a directory of certificates per host. */
  readonly certificateDirectories: readonly string[];
}

/**
 * The connection pools. There are two sets of them: one for registries the user named, and one for places a remote
 * registry sends us to, which looks at every address at connect time, so no DNS name leads to this machine.
 */
export class Dispatchers {
  readonly #options: DispatcherOptions;
  readonly #made = new Map<string, Dispatcher>();
  readonly #certificates = new Map<string, HostCertificates | undefined>();
  /** Settings of single hosts, by number. */
  readonly #numbers = new Map<ConnectionSettings, number>();
  /** Hosts of which more than one thing will be wanted at the same time. */
  readonly #busyHosts = new Set<string>();
  readonly #spares: SpareConnections[] = [];
  #ownAuthorities: string[] | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Throws USAGE when the certificates for a host cannot be read. */
  for(url: URL, isGuarded: boolean, connection?: ConnectionSettings): Dispatcher {
    const isProxied = hasProxy(this.#options.environment) && !isLoopbackHost(url.hostname);
    const certificates = url.protocol === "https:" ? this.#certificatesOf(url.host) : undefined;
    const whose = certificates === undefined ? "anybody" : url.host;
    const how = connection === undefined ? "as usual" : this.#numberOf(connection);
    const key = `${isGuarded ? "guarded" : "open"} ${isProxied ? "proxied" : "direct"} ${whose} ${how}`;
    const made = this.#made.get(key) ?? this.#make(isGuarded, isProxied, certificates, connection);
    this.#made.set(key, made);
    return made;
  }

  /** Says so before the first request to the host, `host[:port]`: then its first two connections are made together. */
  expectBusy(host: string): void {
    this.#busyHosts.add(host);
  }

  /** Breaks every connection; requests under way fail. */
  async close(): Promise<void> {
    for (const spares of this.#spares.splice(0)) spares.close();
    const all = [...this.#made.values()];
    this.#made.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  #make(
    isGuarded: boolean,
    isProxied: boolean,
    certificates: HostCertificates | undefined,
    connection: ConnectionSettings | undefined,
  ): Dispatcher {
    const { limits, lookup = systemLookup, environment } = this.#options;
    const tls = this.#tls([certificates, connection].filter((settings) => settings !== undefined));
    const connectTimeout = connection?.connectTimeoutMs ?? limits.connectTimeoutMs;
    const pool = {
      connections: connectionsPerOrigin,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: 10 * keepAliveMs,
      connectTimeout,
    };
    const requestTls = connection?.skipsVerification === true ? { ...tls, rejectUnauthorized: false } : tls;
    const connect = {
      ...requestTls,
      timeout: connectTimeout,
      lookup: isGuarded ? guarded(lookup) : lookup,
    };
    const { proxy } = connection ?? {};
    if (!isProxied && proxy === undefined) {
      const spares = new SpareConnections(buildConnector(connect), (host) => this.#busyHosts.has(host));
      this.#spares.push(spares);
      return new Agent({ ...pool, connect: spares.connect });
    }
    // A proxy looks names up itself, so the guard cannot see addresses there; the proxy's own rules have to do.
    // Plain http goes through it without CONNECT, which many proxies allow for port 443 only.
    const proxies: Proxies =
      proxy === undefined ? proxiesOf(environment) : { httpProxy: proxy, httpsProxy: proxy, noProxy: "" };
    return new EnvHttpProxyAgent({
      ...pool,
      ...proxies,
      connect,
      requestTls,
      // What a registry is shown or excused from is not meant for a proxy.
      proxyTls: this.#tls([]),
      proxyTunnel: false,
    });
  }

  /** A private CA is added to the public ones, it does not replace them. */
  #tls(settings: readonly HostCertificates[]): TlsOptions {
    const { caFile, environment } = this.#options;
    this.#ownAuthorities ??= caFile === undefined ? [] : [readCertificate(caFile)];
    const own = [...this.#ownAuthorities, ...settings.flatMap(({ ca }) => ca)];
    const cert = settings.flatMap((each) => each.cert);
    if (own.length === 0 && cert.length === 0) return {};
    const client = cert.length === 0 ? {} : { cert, key: settings.flatMap(({ key }) => key) };
    const extra = environment["NODE_EXTRA_CA_CERTS"] || undefined;
    // Node forgets its extra authorities as soon as it is given any.
    const all = [...rootCertificates, ...own, ...(extra === undefined ? [] : [readCertificate(extra)])];
    const options = own.length === 0 ? client : { ca: all, ...client };
    try {
      return { secureContext: cert.length === 0 ? contextTrusting(all) : createSecureContext(options) };
    } catch {
      return options; // A connection then fails with it, and it is told which.
    }
  }

  #numberOf(connection: ConnectionSettings): number {
    const number = this.#numbers.get(connection) ?? this.#numbers.size;
    this.#numbers.set(connection, number);
    return number;
  }

  #certificatesOf(host: string): HostCertificates | undefined {
    if (!this.#certificates.has(host)) {
      this.#certificates.set(host, readHostCertificates(host, this.#options.certificateDirectories));
    }
    return this.#certificates.get(host);
  }
}

/** By the authorities trusted. */
const contexts = new Map<string, SecureContext>();

/** More sets of authorities than a host has. */
const maxContexts = 8;

/**
 * One context for all connections of this process that trust the same: to make it of so many certificates takes tens of
 * milliseconds, which Node would else do for each.
 */
function contextTrusting(authorities: readonly string[]): SecureContext {
  const key = authorities.join();
  const context = contexts.get(key) ?? createSecureContext({ ca: [...authorities] });
  if (contexts.size >= maxContexts) contexts.clear(); // Files of authorities are replaced now and then.
  contexts.set(key, context);
  return context;
}

interface TlsOptions {
  readonly secureContext?: SecureContext;
  readonly ca?: string[];
  readonly cert?: string[];
  readonly key?: string[];
}

interface Proxies {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy: string;
}

/** As curl reads them: lower case first. */
function proxiesOf(environment: NodeJS.ProcessEnv): Proxies {
  const value = (name: string) => environment[name] || environment[name.toUpperCase()] || "";
  const httpProxy = value("http_proxy");
  const httpsProxy = value("https_proxy");
  return {
    ...(httpProxy === "" ? {} : { httpProxy }),
    ...(httpsProxy === "" ? {} : { httpsProxy }),
    noProxy: value("no_proxy"),
  };
}

function hasProxy(environment: NodeJS.ProcessEnv): boolean {
  const { httpProxy, httpsProxy } = proxiesOf(environment);
  return httpProxy !== undefined || httpsProxy !== undefined;
}

/** Checking a URL's host is not enough: a name may resolve to 169.254.169.254 (go-containerregistry#2440). */
function guarded(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (error, address, family) => {
      if (error !== null) return callback(error, address, family);
      const found = typeof address === "string" ? [{ address }] : address;
      const isRefused = found.some((candidate) => isReservedAddress(candidate.address));
      callback(isRefused ? reservedAddressFailure(hostname) : null, address, family);
    });
  };
}

export function reservedAddressFailure(host: string): RegistryFailure {
  return new RegistryFailure(
    "UNREACHABLE",
    `refused to follow the registry to ${host}: it is an address of this machine or link`,
    {
      hint: "Only a registry on this machine may send its clients to others there.",
    },
  );
}
