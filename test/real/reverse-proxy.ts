import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as openRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** One request and its answer, as seen between client and registry. Times are in milliseconds, on one clock. */
export interface Exchange {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly startedAt: number;
  /** Just before the client can have seen the end of the answer; infinity until then. */
  endedAt: number;
  /** 0 until there is an answer. */
  status: number;
}

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ReverseProxyOptions {
  /** How long each answer is held back: on loopback, requests sent together would else look like one after another. */
  readonly latencyMs?: number;
  /** Answers in the registry's place. */
  readonly refuse?: (exchange: Exchange) => Refusal | undefined;
  /** Sends a body on; all of it unless something else is done here. */
  readonly deliver?: (body: IncomingMessage, response: ServerResponse, exchange: Exchange) => Promise<void>;
}

/** Stands in front of a real registry on a loopback port of its own, and sees all that goes through. */
export class ReverseProxy implements AsyncDisposable {
  readonly exchanges: Exchange[] = [];
  /** Where requests go, by the beginning of their path; the longest counts. */
  readonly routes = new Map<string, string>();
  readonly #options: ReverseProxyOptions;
  readonly #server: Server;

  private constructor(options: ReverseProxyOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      // Fails when either end has gone: then there is nothing left to carry.
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(options: ReverseProxyOptions = {}): Promise<ReverseProxy> {
    const proxy = new ReverseProxy(options);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  reference(name: string): string {
    return `${this.host}/${name}`;
  }

  /** Forgets the exchanges so far. */
  forget(): void {
    this.exchanges.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/", headers } = request;
    const path = url.replace(/\?.*$/, "");
    const startedAt = performance.now();
    const exchange: Exchange = { method, path, headers, startedAt, endedAt: Infinity, status: 0 };
    this.exchanges.push(exchange);
    await delay(this.#options.latencyMs ?? 0);
    const refusal = this.#options.refuse?.(exchange);
    if (refusal !== undefined) {
      exchange.status = refusal.status;
      exchange.endedAt = performance.now();
      response.writeHead(refusal.status, { "content-length": 0, ...refusal.headers }).end();
      return;
    }
    const onward = openRequest(`http://${this.#target(path)}${url}`, { method, headers });
    request.pipe(onward);
    const [answer] = (await once(onward, "response")) as [IncomingMessage];
    exchange.status = answer.statusCode ?? 0;
    response.writeHead(exchange.status, answer.headers);
    await (this.#options.deliver ?? deliverAll)(answer, response, exchange);
  }

  #target(path: string): string {
    const [, target] = [...this.routes]
      .filter(([prefix]) => path.startsWith(prefix))
      .reduce((longest, route) => (route[0].length > longest[0].length ? route : longest), ["", ""]);
    return target;
  }
}

export async function deliverAll(
  body: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
): Promise<void> {
  for await (const chunk of body) response.write(chunk);
  exchange.endedAt = performance.now();
  response.end();
}

/** The longest chain of exchanges of which each began after the one before it had ended. */
export function serialRoundTrips(exchanges: readonly Exchange[]): number {
  let length = 0;
  let ended = Number.NEGATIVE_INFINITY;
  // Taking what ends first is best: it leaves the most room for the rest.
  for (const exchange of [...exchanges].sort((a, b) => a.endedAt - b.endedAt)) {
    if (exchange.startedAt < ended) continue;
    length += 1;
    ended = exchange.endedAt;
  }
  return length;
}
