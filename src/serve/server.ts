import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { BpfcacheError } from "../core/errors.js";
import type { Store } from "../store/store.js";
import { refusal } from "./answer.js";
import { Passwords } from "./passwords.js";
import { Registry, type RestoreLayers } from "./registry.js";

export interface ServeOptions {
  /** Default 127.0.0.1: whoever can reach the port can read what is cached. */
  readonly host?: string | undefined;
  /** Default 0: any free port. */
  readonly port?: number | undefined;
  /** Speak https with this certificate chain and key, both in PEM. */
  readonly tls?: { readonly certificate: string | Buffer; readonly key: string | Buffer } | undefined;
  /** A file as `htpasswd -B` writes it: only its users are answered. */
  readonly htpasswdFile?: string | undefined;
}

/** How long answers under way may take to end when the server is closed. */
const closingMs = 5_000;

/** A running read-only registry. */
export class RegistryServer {
  readonly #server: Server;
  readonly #scheme: "http" | "https";

  private constructor(server: Server, scheme: "http" | "https") {
    this.#server = server;
    this.#scheme = scheme;
  }

  /** Throws USAGE when the address cannot be listened on, or certificate or password file cannot be used. */
  static async listen(
    store: Store,
    options: ServeOptions = {},
    restoreLayers?: RestoreLayers,
  ): Promise<RegistryServer> {
    const { host = "127.0.0.1", port = 0, tls, htpasswdFile } = options;
    const passwords = htpasswdFile === undefined ? undefined : await Passwords.read(htpasswdFile);
    const registry = new Registry(store, restoreLayers);
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      // Whatever fails here, the client must not wait for an answer.
      void respond(registry, passwords, request, response)
        .then((bytes) => {
          store.counters.add("servedRequests");
          store.counters.add("servedBytes", bytes);
        })
        .catch(() => response.destroy());
    const server = tls === undefined ? createHttpServer(listener) : secureServer(tls, listener);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) =>
        reject(
          new BpfcacheError("USAGE", `cannot listen on ${host} port ${port}: ${cause.message}`, { cause }),
        ),
      );
      server.listen(port, host, resolve);
    });
    return new RegistryServer(server, tls === undefined ? "http" : "https");
  }

  /** `host:port`, to put before a repository. */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  get url(): string {
    return `${this.#scheme}://${this.address}`;
  }

  /** Stops listening, lets answers that are under way end for some seconds, and ends what is left. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const patience = setTimeout(() => this.#server.closeAllConnections(), closingMs);
    await closed;
    clearTimeout(patience);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function secureServer(
  { certificate, key }: NonNullable<ServeOptions["tls"]>,
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  try {
    return createHttpsServer({ cert: certificate, key, minVersion: "TLSv1.2" }, listener);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("USAGE", `the TLS certificate or its key cannot be used: ${why}`, { cause });
  }
}

/** Returns how many bytes the body has that is sent. */
async function respond(
  registry: Registry,
  passwords: Passwords | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<number> {
  const isKnown = passwords === undefined || (await passwords.accept(request.headers.authorization));
  const { status, headers, body } = isKnown
    ? await registry.answer(request.method ?? "GET", request.url ?? "/", request.headers)
    : refusal(401, "UNAUTHORIZED", "a user of this registry is needed", {
        "www-authenticate": 'Basic realm="bpfcache", charset="UTF-8"',
      });
  response.writeHead(status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
  return request.method === "HEAD" ? 0 : body.byteLength;
}
