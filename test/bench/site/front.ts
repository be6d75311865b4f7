import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestCertificates } from "../../source/registry/certificates.js";

/**
 * One server in front of a registry and its token service, for oras and crane follow a registry on this machine to no
 * other place on it. It ends TLS, counts requests, and keeps its connections to the two behind it.
 */
export class Front {
  requests = 0;
  /** Where requests go, by the first part of their path. */
  readonly routes = new Map<string, string>();
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(tls: Pick<TestCertificates, "cert" | "key"> | undefined) {
    const serve = (asked: IncomingMessage, response: ServerResponse): void => this.#serve(asked, response);
    // Go's clients keep a connection longer than Node's five seconds, and what they then send is lost.
    const options = { keepAliveTimeout: 120_000, noDelay: true };
    this.#server =
      tls === undefined ? createServer(options, serve) : createSecureServer({ ...options, ...tls }, serve);
  }

  static async open(tls: Pick<TestCertificates, "cert" | "key"> | undefined): Promise<Front> {
    const front = new Front(tls);
    front.#server.listen(0, "127.0.0.1", 1_024);
    await once(front.#server, "listening");
    return front;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  #serve(asked: IncomingMessage, response: ServerResponse): void {
    this.requests++;
    const { method = "GET", url = "/", headers } = asked;
    const target = this.routes.get(url.split(/[/?]/)[1] ?? "");
    const onward = request(`http://${target}${url}`, { agent: this.#agent, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    asked.pipe(onward);
  }
}
