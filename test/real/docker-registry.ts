import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ServerProgram, serverDirectory } from "./server-program.js";

export interface Login {
  readonly username: string;
  readonly password: string;
}

export interface DockerRegistryOptions {
  /** Asks for these credentials by HTTP Basic. */
  readonly basic?: Login;
  /** Takes tokens of this service, signed by a key with a certificate in the file. */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly certificateFile: string;
  };
  /** Speaks TLS, and with `clientAuthority` only to clients with a certificate by it. All are PEM. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientAuthority?: string };
  /** Holds nothing of its own, but fetches from the registry at this URL and keeps what it fetched. */
  readonly pullThrough?: string;
}

/** Debian's docker-registry (CNCF distribution) on a free loopback port, its storage in a directory of its own. */
export class DockerRegistry implements AsyncDisposable {
  private constructor(
    readonly host: string,
    readonly program: ServerProgram,
  ) {}

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const directory = serverDirectory("docker-registry");
    const file = (name: string, content: string | Buffer): string => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    const config = {
      version: 0.1,
      storage: { filesystem: { rootdirectory: join(directory, "storage") } },
      http: { addr: "127.0.0.1:0", secret: "not a secret", tls: tlsSection(options, file) },
      auth: authSection(options, file),
      proxy: options.pullThrough && { remoteurl: options.pullThrough },
    };
    const { program, ready } = await ServerProgram.start(
      {
        command: "docker-registry",
        args: ["serve", file("config.yml", JSON.stringify(config))], // JSON is YAML
        ready: /listening on (127\.0\.0\.1:\d+)/,
      },
      directory,
    );
    return new DockerRegistry(ready[1] ?? "", program);
  }

  reference(name: string): string {
    return `${this.host}/${name}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

type WriteFile = (name: string, content: string | Buffer) => string;

function authSection({ basic, token }: DockerRegistryOptions, file: WriteFile): unknown {
  if (basic !== undefined) return { htpasswd: { realm: "real", path: file("htpasswd", htpasswd(basic)) } };
  if (token === undefined) return undefined;
  const { certificateFile, ...rest } = token;
  return { token: { ...rest, rootcertbundle: certificateFile } };
}

function tlsSection({ tls }: DockerRegistryOptions, file: WriteFile): unknown {
  if (tls === undefined) return undefined;
  const { cert, key, clientAuthority } = tls;
  return {
    certificate: file("server.pem", cert),
    key: file("server.key", key),
    ...(clientAuthority === undefined ? {} : { clientcas: [file("clients.pem", clientAuthority)] }),
  };
}

/** A file of one user, as Apache's htpasswd makes it: the bcrypt kind, which is the only one that Go servers take. */
export function htpasswd({ username, password }: Login): Buffer {
  return execFileSync("htpasswd", ["-niB", "-C", "4", username], { input: password, stdio: "pipe" });
}
