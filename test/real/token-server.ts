import { execFileSync } from "node:child_process";
import { createPrivateKey, randomUUID, sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Login } from "./docker-registry.js";

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/**
 * A token service as distribution's "Token Authentication Specification" has it. Everybody may pull, except from
 * repositories under private/; one user may do everything. Tokens are JWTs whose x5c header holds the certificate of
 * the key that signed them, which is how docker-registry knows them by its rootcertbundle.
 */
export class TokenServer implements AsyncDisposable {
  readonly issuer = "token server of the tests";
  readonly service = "real registry";
  readonly #login: Login;
  readonly #directory = mkdtempSync(join(tmpdir(), "bpfcache-token-server-"));
  readonly #server: Server;

  private constructor(login: Login) {
    this.#login = login;
    const key = [
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-keyout",
      "token.key",
    ];
    const certificate = ["-out", "token.pem", "-subj", "/CN=token server", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...key, ...certificate], {
      cwd: this.#directory,
      stdio: "pipe",
    });
    this.#server = createServer((request, response) => {
      const token = this.#grant(request);
      response.writeHead(token === undefined ? 401 : 200, { "content-type": "application/json" });
      response.end(
        JSON.stringify(token === undefined ? { details: "wrong password" } : { token, expires_in: 300 }),
      );
    });
  }

  static async start(login: Login): Promise<TokenServer> {
    const server = new TokenServer(login);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get certificateFile(): string {
    return join(this.#directory, "token.pem");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
    rmSync(this.#directory, { recursive: true });
  }

  /** Undefined for a wrong password. A token for what may not be had is given, and says so: it has no actions. */
  #grant({ url = "", headers }: IncomingMessage): string | undefined {
    const { username, password } = this.#login;
    const shown = headers.authorization;
    const right = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    if (shown !== undefined && shown !== right) return undefined;
    const { searchParams } = new URL(url, `http://${this.host}`);
    const access = searchParams.getAll("scope").map((scope) => allowed(scope, shown !== undefined));
    return this.#sign(access, shown === undefined ? "" : username);
  }

  #sign(access: readonly Access[], subject: string): string {
    const now = Math.floor(Date.now() / 1_000);
    const times = { iat: now, nbf: now - 10, exp: now + 300 };
    const { raw } = new X509Certificate(readFileSync(this.certificateFile));
    const header = { typ: "JWT", alg: "ES256", x5c: [raw.toString("base64")] };
    const claims = { iss: this.issuer, aud: this.service, sub: subject, jti: randomUUID(), ...times, access };
    const signed = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const key = createPrivateKey(readFileSync(join(this.#directory, "token.key")));
    const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }
}

/** `repository:org/program:pull,push` with the actions that may be had. */
function allowed(scope: string, isKnown: boolean): Access {
  const [type = "", name = "", actions = ""] = scope.split(":");
  const mayPull = isKnown || !name.startsWith("private/");
  return {
    type,
    name,
    actions: actions.split(",").filter((action) => isKnown || (mayPull && action === "pull")),
  };
}
