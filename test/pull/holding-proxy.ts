import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestRegistry } from "../support/test-registry.js";
import { afterThisTest, signal } from "./support.js";

/** Requests that wait in the proxy. */
export interface Hold {
  /** Resolves when the first of them has come. */
  readonly arrived: Promise<void>;
  /** Resolves when the connection of one of them was closed by its client. */
  readonly closed: Promise<void>;
  /** Lets them through, and all that come later. */
  release(): void;
}

interface Held extends Hold {
  readonly part: string;
  isReleased: boolean;
  take(client: Socket, pass: () => void): void;
}

/**
 * Stands between a cache and a registry and keeps chosen requests back until told otherwise, so that a test decides
 * what happens while a download is under way, and sees when its connection ends.
 */
export class HoldingProxy {
  readonly #holds: Held[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => this.#join(client));

  private constructor(readonly registry: TestRegistry) {}

  static async start(registry: TestRegistry): Promise<HoldingProxy> {
    const proxy = new HoldingProxy(registry);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    afterThisTest(() => proxy.#close());
    return proxy;
  }

  reference(name: string): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}/${name}`;
  }

  /** Keeps back every request whose path has `part` in it. */
  hold(part: string): Hold {
    const hold = newHold(part);
    this.#holds.push(hold);
    return hold;
  }

  #join(client: Socket): void {
    const upstream = connect(Number(this.registry.host.split(":")[1]), "127.0.0.1");
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    upstream.pipe(client);
    // A GET is one small packet, so a chunk is a request.
    client.on("data", (request) => {
      const pass = (): void => void upstream.write(request);
      const [line = ""] = request.toString("latin1").split("\r\n", 1);
      const hold = this.#holds.find(({ part, isReleased }) => !isReleased && line.includes(part));
      if (hold === undefined) pass();
      else hold.take(client, pass);
    });
  }

  async #close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }
}

function newHold(part: string): Held {
  const waiting: (() => void)[] = [];
  const arrival = signal();
  const closing = signal();
  return {
    part,
    isReleased: false,
    arrived: arrival.given,
    closed: closing.given,
    take(client, pass) {
      waiting.push(pass);
      client.once("close", closing.give);
      arrival.give();
    },
    release() {
      this.isReleased = true;
      for (const pass of waiting.splice(0)) pass();
    },
  };
}
