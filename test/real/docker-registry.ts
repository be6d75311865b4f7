import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface DockerRegistryOptions {
  /** Asks for these credentials by HTTP Basic. */
  readonly basic?: { readonly username: string; readonly password: string };
}

/** Debian's docker-registry (CNCF distribution) on a free loopback port, its storage in a directory of its own. */
export class DockerRegistry implements AsyncDisposable {
  private constructor(
    readonly host: string,
    readonly directory: string,
    readonly process: ChildProcess,
  ) {}

  static async start({ basic }: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const directory = mkdtempSync(join(tmpdir(), "bpfcache-docker-registry-"));
    const config: Record<string, unknown> = {
      version: 0.1,
      storage: { filesystem: { rootdirectory: join(directory, "storage") } },
      http: { addr: "127.0.0.1:0", secret: "not a secret" },
    };
    if (basic !== undefined) {
      const passwords = join(directory, "htpasswd");
      writeFileSync(
        passwords,
        execFileSync("htpasswd", ["-niB", "-C", "4", basic.username], {
          input: basic.password,
          stdio: "pipe",
        }),
      );
      config["auth"] = { htpasswd: { realm: "real", path: passwords } };
    }
    const configFile = join(directory, "config.yml");
    writeFileSync(configFile, JSON.stringify(config)); // JSON is YAML
    const server = spawn("docker-registry", ["serve", configFile], { stdio: ["ignore", "ignore", "pipe"] });
    try {
      return new DockerRegistry(await listeningHost(server), directory, server);
    } catch (error) {
      server.kill("SIGKILL");
      rmSync(directory, { recursive: true });
      throw error;
    }
  }

  reference(name: string): string {
    return `${this.host}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await exited;
    rmSync(this.directory, { recursive: true });
  }
}

/** With port 0 the log is the only place that says which port it became. It is read to its end: a full pipe would stop the server. */
function listeningHost(server: ChildProcess): Promise<string> {
  const log: string[] = [];
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", () => reject(new Error(`docker-registry did not start:\n${log.join("\n")}`)));
    createInterface(server.stderr as Readable).on("line", (line) => {
      log.push(line);
      const host = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (host !== undefined) resolve(host);
    });
  });
}
