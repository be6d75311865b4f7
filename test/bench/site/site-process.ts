import { DockerRegistry } from "../../real/docker-registry.js";
import { TokenServer } from "../../real/token-server.js";
import { makeCertificates } from "../../source/registry/certificates.js";
import { DelayPipe } from "./delay-pipe.js";
import type { SiteAnswer, SiteOptions, SiteQuestion } from "./site.js";

// A registry and its token service, each behind a network of its own, in a process that is not the one measured.

const { isSecure, hasTokens } = JSON.parse(process.argv[2] ?? "{}") as SiteOptions;
const certificates = makeCertificates();
const tls = isSecure ? certificates : undefined;
const toRegistry = await DelayPipe.open();
const toTokens = await DelayPipe.open();
const tokens = hasTokens
  ? await TokenServer.start({ username: "owner", password: "secret" }, tls)
  : undefined;
if (tokens !== undefined) toTokens.leadTo(tokens.host);
const registry = await DockerRegistry.start({
  ...(tls === undefined ? {} : { tls }),
  ...(tokens === undefined
    ? {}
    : {
        token: {
          realm: `${isSecure ? "https" : "http"}://${toTokens.host}/token`,
          service: tokens.service,
          issuer: tokens.issuer,
          certificateFile: tokens.certificateFile,
        },
      }),
});
toRegistry.leadTo(registry.host);

let countedLines = 0;
let tokensBefore = 0;

process.on("message", (question: SiteQuestion) => {
  if (question.ask === "delay") {
    toRegistry.roundTripMs = question.roundTripMs;
    toTokens.roundTripMs = question.roundTripMs;
    answer({});
  } else if (question.ask === "reset") {
    countedLines = registry.program.log.length;
    tokensBefore = tokens?.requests ?? 0;
    answer({});
  } else {
    // The registry writes its log after its answer.
    setTimeout(() => answer({ requests: requestsSince() }), 100);
  }
});

process.on("disconnect", async () => {
  await registry[Symbol.asyncDispose]();
  await tokens?.[Symbol.asyncDispose]();
  certificates.remove();
  process.exit(0);
});

answer({
  host: toRegistry.host,
  directHost: registry.host,
  storage: `${registry.program.directory}/storage`,
  caFile: certificates.caFile,
});

/** The registry's own count, from its access log, with the token service's. */
function requestsSince(): number {
  const lines = registry.program.log.slice(countedLines);
  const requests = lines.filter((line) => /^\S+ - .*"[A-Z]+ \/v2\//.test(line)).length;
  return requests + (tokens?.requests ?? 0) - tokensBefore;
}

function answer(message: SiteAnswer): void {
  process.send?.(message);
}
