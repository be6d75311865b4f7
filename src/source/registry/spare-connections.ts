import { once } from "node:events";
import type { Socket } from "node:net";
import type { buildConnector } from "undici";

/** undici's connectors return the socket at once, connected or not yet, which its types do not say. */
type Connect = (...args: Parameters<buildConnector.connector>) => Socket;

/** It is wanted within a few round trips, or what it was made for has come to nothing. */
const longestIdleMs = 10_000;

interface Spare {
  readonly socket: Socket;
  /** Fulfilled when it is connected, and TLS is spoken. */
  readonly ready: Promise<unknown>;
}

/**
 * Makes a second connection to a host together with the first, where both will be needed: of an image that is not here
 * the config and the layer are asked for at the same time. Made only then, it would cost two round trips more.
 */
export class SpareConnections {
  readonly #connect: Connect;
  readonly #isExpected: (host: string) => boolean;
  /** By origin: http and https of one host are two. Undefined once it has been taken: there is one for each. */
  readonly #spares = new Map<string, Spare | undefined>();
  /** Those that are being made or wait for their use. */
  readonly #unused = new Set<Socket>();

  constructor(connect: buildConnector.connector, isExpected: (host: string) => boolean) {
    this.#connect = connect as Connect;
    this.#isExpected = isExpected;
  }

  /** For undici, which asks for one connection after another. */
  readonly connect: buildConnector.connector = (options, callback) => {
    const host = options.host ?? options.hostname;
    const origin = `${options.protocol}//${host}`;
    const spare = this.#spares.get(origin);
    if (spare !== undefined) {
      this.#spares.set(origin, undefined);
      spare.socket.ref();
      spare.ready.then(
        () => this.#handOver(spare.socket, options, callback),
        () => this.#connect(options, callback),
      );
      return;
    }
    this.#connect(options, callback);
    if (this.#isExpected(host) && !this.#spares.has(origin)) this.#spares.set(origin, this.#make(options));
  };

  close(): void {
    for (const socket of this.#unused) socket.destroy();
  }

  #make(options: buildConnector.Options): Spare {
    const socket = this.#connect(options, () => {});
    const ready = once(socket, options.protocol === "https:" ? "secureConnect" : "connect");
    ready.catch(() => {}); // Whoever needs it tries again, and is told.
    socket.unref().setTimeout(longestIdleMs, giveUp);
    socket.once("close", () => this.#unused.delete(socket));
    this.#unused.add(socket);
    return { socket, ready };
  }

  #handOver(socket: Socket, options: buildConnector.Options, callback: buildConnector.Callback): void {
    this.#unused.delete(socket);
    if (socket.destroyed || socket.readableEnded) {
      this.#connect(options, callback);
      return;
    }
    socket.off("timeout", giveUp).setTimeout(0);
    callback(null, socket);
  }
}

function giveUp(this: Socket): void {
  this.destroy(new Error("a connection that was made in advance was not used"));
}
