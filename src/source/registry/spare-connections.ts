import type { Socket } from "node:net";
import type { buildConnector } from "undici";

type Connect = buildConnector.connector;

/** It is wanted within a few round trips, or what it was made for has come to nothing. */
const longestIdleMs = 10_000;

/**
 * Makes a second connection to a host together with the first, where both will be needed: of an image that is not here
 * the config and the layer are asked for at the same time. Made only then, it would cost two round trips more.
 */
export class SpareConnections {
  readonly #connect: Connect;
  readonly #isExpected: (host: string) => boolean;
  /** By host; undefined when it could not be made, or has been taken. */
  readonly #spares = new Map<string, Promise<Socket> | undefined>();
  readonly #idle = new Set<Socket>();

  constructor(connect: Connect, isExpected: (host: string) => boolean) {
    this.#connect = connect;
    this.#isExpected = isExpected;
  }

  /** For undici, which asks for one connection after another. */
  readonly connect: Connect = (options, callback) => {
    const host = options.host ?? options.hostname;
    const spare = this.#spares.get(host);
    if (spare !== undefined) {
      this.#spares.set(host, undefined);
      spare.then(
        (socket) => this.#handOver(socket, options, callback),
        () => this.#connect(options, callback),
      );
      return;
    }
    this.#connect(options, callback);
    if (this.#isExpected(host) && !this.#spares.has(host)) this.#spares.set(host, this.#make(options));
  };

  close(): void {
    for (const socket of this.#idle) socket.destroy();
  }

  #make(options: buildConnector.Options): Promise<Socket> {
    const made = new Promise<Socket>((resolve, reject) => {
      this.#connect(options, (error, socket) => {
        if (error !== null) return reject(error);
        this.#idle.add(socket);
        socket.unref().on("error", ignore).setTimeout(longestIdleMs, destroy);
        resolve(socket);
      });
    });
    made.catch(ignore); // Whoever needs it tries again, and is told.
    return made;
  }

  #handOver(socket: Socket, options: buildConnector.Options, callback: buildConnector.Callback): void {
    this.#idle.delete(socket);
    if (socket.destroyed || socket.readableEnded) {
      this.#connect(options, callback);
      return;
    }
    socket.ref().off("error", ignore).off("timeout", destroy).setTimeout(0);
    callback(null, socket);
  }
}

function ignore(): void {}

function destroy(this: Socket): void {
  this.destroy();
}
