import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { htpasswd, type Login } from "./docker-registry.js";
import { ServerProgram, serverDirectory } from "./server-program.js";

/** zot on a free loopback port, asking for a login by HTTP Basic if there is one. */
export class Zot implements AsyncDisposable {
  private constructor(
    readonly host: string,
    readonly program: ServerProgram,
  ) {}

  static async start(login?: Login): Promise<Zot> {
    const directory = serverDirectory("zot");
    const passwords = join(directory, "htpasswd");
    if (login !== undefined) writeFileSync(passwords, htpasswd(login));
    // failDelay, seconds, is how long a wrong password is made to wait.
    const auth = login === undefined ? undefined : { htpasswd: { path: passwords }, failDelay: 0 };
    const config = join(directory, "config.json");
    writeFileSync(
      config,
      JSON.stringify({
        distSpecVersion: "1.0.1-dev",
        storage: { rootDirectory: join(directory, "storage") },
        http: { address: "127.0.0.1", port: "0", auth },
        log: { level: "info" },
      }),
    );
    const { program, ready } = await ServerProgram.start(
      { command: "zot", args: ["serve", config], ready: /"port":(\d+),.*listening on kernel chosen port/ },
      directory,
    );
    return new Zot(`127.0.0.1:${ready[1]}`, program);
  }

  reference(name: string): string {
    return `${this.host}/${name}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}
