import { RegistryFailure } from "./failure.js";
import { header } from "./headers.js";
import type { Answer, Call, HttpRequest, Transport } from "./transport.js";

const redirectStatuses = new Set([301, 302, 303, 307, 308]);

/** Headers that say what is wanted, not who wants it. Nothing else goes to an origin we were sent to. */
const travellingHeaders = new Set(["accept", "range", "if-match", "if-none-match"]);

/**
 * Sends a request and follows where it leads. Authorization stays with its origin (scheme, host and port:
 * GHSA-vh4v-2xq2-g5cg was a leak to another port) and is not taken up again by a chain that comes back.
 * https never leads to http. Throws UNREACHABLE for a redirect that breaks these rules.
 */
export async function sendFollowing(
  transport: Transport,
  request: HttpRequest,
  call: Call,
  maxRedirects: number,
): Promise<Answer> {
  let next = request;
  for (let hops = 0; ; hops += 1) {
    const answer = await transport.send(next, call);
    // A form with a password in it is not sent on to anybody.
    if (!redirectStatuses.has(answer.status) || next.method === "POST") return answer;
    await answer.discard();
    if (hops === maxRedirects) throw refused(next.url, `it redirected more than ${maxRedirects} times`);
    const url = redirectTarget(answer);
    const headers = url.origin === next.url.origin ? next.headers : withoutIdentity(next.headers);
    next = { ...next, url, headers };
  }
}

function redirectTarget(answer: Answer): URL {
  const location = header(answer.headers, "location");
  if (location === undefined || !URL.canParse(location, answer.url.href)) {
    throw refused(answer.url, "it redirected without saying where to");
  }
  const target = new URL(location, answer.url);
  if (target.protocol !== "https:" && target.protocol !== "http:") {
    throw refused(answer.url, `it redirected to a ${target.protocol} address`);
  }
  if (answer.url.protocol === "https:" && target.protocol === "http:") {
    throw refused(answer.url, `it redirected from https to http, at ${target.host}`);
  }
  // Names and passwords in a Location would become a Basic header nobody asked for.
  target.username = "";
  target.password = "";
  target.hash = "";
  return target;
}

function withoutIdentity(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => travellingHeaders.has(name)));
}

function refused(from: URL, reason: string): RegistryFailure {
  return new RegistryFailure("UNREACHABLE", `${from.host} cannot be followed: ${reason}`, {
    hint: "This is the registry's mistake, or somebody is in between; its operator can tell.",
  });
}
