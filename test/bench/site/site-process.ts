import { DockerRegistry } from "../../real/docker-registry.js";
import { TokenServer } from "../../real/token-server.js";
import { makeCertificates } from "../../source/registry/certificates.js";
import { DelayPipe } from "./delay-pipe.js";
import { Front } from "./front.js";
import type { SiteAnswer, SiteOptions, SiteQuestion } from "./site.js";

// A registry and its token service behind a network, in a process that is not the one measured.

const { isSecure, hasTokens } = JSON.parse(process.argv[2] ?? "{}") as SiteOptions;
const certificates = makeCertificates();
const front = await Front.open(isSecure ? certificates : undefined);
const network = await DelayPipe.open(front.host);
const tokens = hasTokens ? await TokenServer.start({ username: "owner", password: "secret" }) : undefined;
if (tokens !== undefined) front.routes.set("token", tokens.host);
const registry = await DockerRegistry.start(tokens === undefined ? {} : { token: tokenOptions(tokens) });
front.routes.set("v2", registry.host);

process.on("message", (question: SiteQuestion) => {
  if (question.ask === "delay") network.roundTripMs = question.roundTripMs;
  if (question.ask === "reset") {
    front.requests = 0;
    network.connections = 0;
  }
  answer({ requests: front.requests, connections: network.connections });
});

process.on("disconnect", async () => {
  front.close();
  await registry[Symbol.asyncDispose]();
  await tokens?.[Symbol.asyncDispose]();
  certificates.remove();
  process.exit(0);
});

answer({
  host: network.host,
  directHost: registry.host,
  storage: `${registry.program.directory}/storage`,
  caFile: certificates.caFile,
});

function tokenOptions({ service, issuer, certificateFile }: TokenServer) {
  const realm = `${isSecure ? "https" : "http"}://${network.host}/token`;
  return { realm, service, issuer, certificateFile };
}

function answer(message: SiteAnswer): void {
  process.send?.(message);
}
