import { DockerRegistry, type Login } from "./docker-registry.js";
import { ReverseProxy } from "./reverse-proxy.js";
import { TokenServer } from "./token-server.js";

/** Who may push, and pull from private/. */
export const owner: Login = { username: "owner", password: "secret" };

/** Debian's docker-registry with its token service, both behind one proxy that sees each request to either. */
export class TokenRegistry implements AsyncDisposable {
  private constructor(
    readonly proxy: ReverseProxy,
    readonly tokens: TokenServer,
    readonly registry: DockerRegistry,
  ) {}

  static async start(latencyMs: number): Promise<TokenRegistry> {
    const proxy = await ReverseProxy.start({ latencyMs });
    const tokens = await TokenServer.start(owner);
    const { service, issuer, certificateFile } = tokens;
    const token = { realm: `http://${proxy.host}/token`, service, issuer, certificateFile };
    const registry = await DockerRegistry.start({ token });
    proxy.routes.set("/", registry.host);
    proxy.routes.set("/token", tokens.host);
    return new TokenRegistry(proxy, tokens, registry);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.proxy, this.registry, this.tokens]) await part[Symbol.asyncDispose]();
  }
}
