import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answers one request. Returning "pass" leaves it to what comes after the script. */
export type Responder = (request: Seen, response: ServerResponse) => unknown;

interface Script {
  readonly matches: (request: Seen) => boolean;
  readonly responders: Responder[];
}

/** A real HTTP server that misbehaves on demand and remembers what it was asked. */
export class FaultServer {
  readonly seen: Seen[] = [];
  /** Answers what no script does. */
  fallback: Responder = (_, response) => response.writeHead(404).end();
  readonly #scripts: Script[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(
    readonly server: Server,
    readonly scheme: "http" | "https",
  ) {
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  static async start(tls?: {
    key: string;
    cert: string;
    ca?: string;
    requestCert?: boolean;
  }): Promise<FaultServer> {
    const server = tls === undefined ? createServer() : createTlsServer(tls);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FaultServer(server, tls === undefined ? "http" : "https");
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get origin(): string {
    return `${this.scheme}://${this.host}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** The n-th matching request gets the n-th responder; when they are used up, requests pass. */
  on(match: string | RegExp | ((request: Seen) => boolean), ...responders: Responder[]): this {
    const matches =
      typeof match === "function"
        ? match
        : (request: Seen) => (typeof match === "string" ? request.path === match : match.test(request.path));
    this.#scripts.push({ matches, responders });
    return this;
  }

  /** Requests as `METHOD path`, in the order they came. */
  get log(): string[] {
    return this.seen.map(({ method, path }) => `${method} ${path}`);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    const seen = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    this.seen.push(seen);
    for (const { matches, responders } of this.#scripts) {
      if (!matches(seen)) continue;
      const responder = responders.shift();
      if (responder !== undefined && (await responder(seen, response)) !== "pass") return;
    }
    await this.fallback(seen, response);
  }
}

/** The same responder many times. */
export function times(count: number, responder: Responder): Responder[] {
  return Array.from({ length: count }, () => responder);
}

export function status(code: number, headers: Record<string, string | string[]> = {}, body = ""): Responder {
  return (_, response) => response.writeHead(code, headers).end(body);
}

export const hangUp: Responder = (_, response) => response.socket?.destroy();

/** Never answers. */
export const silence: Responder = () => undefined;
