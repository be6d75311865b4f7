import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { Reference } from "../core/reference.js";
import type { Store } from "../store/store.js";
import { answer, manifestAskedFor } from "./answers.js";

export interface ServeOptions {
  /** Default 127.0.0.1: whoever can reach the port can read what is cached. */
  readonly host?: string | undefined;
  /** Default 0: any free port. */
  readonly port?: number | undefined;
}

/** Fetches layers again that the image with this manifest digest was left without. */
export type RestoreLayers = (repository: Reference, manifest: Digest) => Promise<unknown>;

/** A running read-only registry. */
export class RegistryServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws USAGE when the address cannot be listened on. */
  static async listen(
    store: Store,
    options: ServeOptions = {},
    restoreLayers?: RestoreLayers,
  ): Promise<RegistryServer> {
    const { host = "127.0.0.1", port = 0 } = options;
    const server = createServer(async (request, response) => {
      if (restoreLayers !== undefined) await makeWhole(store, request, restoreLayers);
      respond(store, request, response);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) =>
        reject(
          new BpfcacheError("USAGE", `cannot listen on ${host} port ${port}: ${cause.message}`, { cause }),
        ),
      );
      server.listen(port, host, resolve);
    });
    return new RegistryServer(server);
  }

  /** `host:port`, to put before a repository. */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  /** Stops listening and ends every connection. Closing twice does nothing. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Whoever gets a manifest asks for its layers next. */
async function makeWhole(
  store: Store,
  request: IncomingMessage,
  restoreLayers: RestoreLayers,
): Promise<void> {
  try {
    const asked = manifestAskedFor(store, request.method ?? "GET", request.url ?? "/");
    if (asked === undefined || (store.droppedLayers(asked.digest) ?? []).length === 0) return;
    await restoreLayers(asked.repository, asked.digest);
  } catch {
    // Offline, say: the manifest can be had all the same, and the layer is answered with 404.
  }
}

function respond(store: Store, request: IncomingMessage, response: ServerResponse): void {
  const { status, headers, body } = answer(
    store,
    request.method ?? "GET",
    request.url ?? "/",
    request.headers,
  );
  response.writeHead(status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
}
