import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * A network of so many milliseconds between client and server: what either sends arrives half a round trip later, and
 * what the client sends first a whole one later still, for its connection had to be made. It carries bytes and knows
 * nothing of what they are, so that TLS and HTTP are spoken with the server itself.
 */
export class DelayPipe {
  roundTripMs = 0;
  connections = 0;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: Server;

  private constructor(target: string) {
    const [host = "", port = ""] = target.split(":");
    this.#target = { host, port: Number(port) };
    this.#server = createServer({ noDelay: true }, (client) => this.#carry(client));
  }

  /** From a free loopback port to a server, `host:port`. */
  static async open(target: string): Promise<DelayPipe> {
    const pipe = new DelayPipe(target);
    pipe.#server.listen(0, "127.0.0.1", 1_024);
    await once(pipe.#server, "listening");
    return pipe;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #carry(client: Socket): void {
    this.connections++;
    const server = connect({ ...this.#target, noDelay: true });
    const madeAt = performance.now() + this.roundTripMs;
    relay(client, server, () => Math.max(0, madeAt - performance.now()) + this.roundTripMs / 2);
    relay(server, client, () => this.roundTripMs / 2);
  }
}

/** Timers of Node that were set for the same moment may fire in another order: what waits is a queue. */
function relay(from: Socket, to: Socket, delayMs: () => number): void {
  const waiting: { readonly arrivesAt: number; readonly deliver: () => void }[] = [];
  const deliverDue = (): void => {
    while (waiting[0] !== undefined && waiting[0].arrivesAt <= performance.now() + 0.5)
      waiting.shift()?.deliver();
    if (waiting[0] !== undefined)
      setTimeout(deliverDue, Math.max(1, waiting[0].arrivesAt - performance.now()));
  };
  const later = (deliver: () => void): void => {
    const delay = delayMs();
    if (delay === 0) {
      deliver();
      return;
    }
    waiting.push({ arrivesAt: performance.now() + delay, deliver });
    if (waiting.length === 1) setTimeout(deliverDue, delay);
  };
  from.on("data", (chunk: Buffer) => later(() => to.writable && to.write(chunk)));
  from.on("end", () => later(() => to.end()));
  from.on("error", () => to.destroy());
  from.on("close", () => later(() => to.end()));
}
