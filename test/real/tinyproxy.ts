import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { withHosts } from "./named-hosts.js";
import { ServerProgram, serverDirectory } from "./server-program.js";

/** tinyproxy on a loopback port, to which some names lead to this machine. */
export class TinyProxy implements AsyncDisposable {
  private constructor(
    readonly url: string,
    readonly program: ServerProgram,
  ) {}

  static async start(names: readonly string[]): Promise<TinyProxy> {
    const directory = serverDirectory("tinyproxy");
    const port = await freePort();
    const config = join(directory, "tinyproxy.conf");
    writeFileSync(config, `Port ${port}\nListen 127.0.0.1\nAllow 127.0.0.1\nLogLevel Info\n`);
    const [command, ...args] = withHosts(join(directory, "hosts"), names, ["tinyproxy", "-d", "-c", config]);
    const { program } = await ServerProgram.start({ command, args, ready: /Starting main loop/ }, directory);
    return new TinyProxy(`http://127.0.0.1:${port}`, program);
  }

  /** What it was asked for so far: `GET http://host/path`, `CONNECT host:port`. */
  async requests(): Promise<readonly string[]> {
    // Its log may lag; when it shows a request of our own, it shows all that came before.
    const last = `http://127.0.0.1:1/${randomUUID()}`;
    const { hostname, port } = new URL(this.url);
    const [answer] = (await once(get({ hostname, port, path: last }), "response")) as [IncomingMessage];
    answer.resume();
    await this.program.logged(new RegExp(last));
    return this.program.log
      .flatMap((line) => requestLine.exec(line)?.[1] ?? [])
      .filter((request) => !request.includes("//127.0.0.1:1/"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

const requestLine = /Request \(file descriptor \d+\): (.*) HTTP\/1\.[01]/;

/** tinyproxy takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
