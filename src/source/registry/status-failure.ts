import type { Limits } from "../../core/limits.js";
import { parseRetryAfter } from "./backoff.js";
import { describeErrorBody } from "./error-body.js";
import { RegistryFailure } from "./failure.js";
import { header } from "./headers.js";
import type { Answer } from "./transport.js";

/** 499 and 522 come from proxies in front of registries that lost patience (nginx, Cloudflare). */
const passingStatuses = new Set([408, 425, 429, 499, 500, 502, 503, 504, 522]);

/** Docker Hub's own count of what is left: nothing, and the window is six hours. */
const usedUp = /^0+(?:;|$)/;

/** An answer nobody wanted, as the error it means. Reads what the body says about it. `what` names the thing asked for. */
export async function statusFailure(
  answer: Answer,
  what: string,
  limits: Limits,
  now: number,
): Promise<RegistryFailure> {
  const body = await answer.keepBeginning(limits.errorBodyBytes);
  const said = describeErrorBody(body, header(answer.headers, "content-type"));
  const { host } = answer.url;
  const words = said === undefined ? `status ${answer.status}` : `status ${answer.status}, ${said}`;
  if (answer.status === 404) {
    return new RegistryFailure("NOT_FOUND", `${host} has no ${what} (${words})`, {
      hint: "Check the name and the tag; registries also answer so for private repositories.",
    });
  }
  if (answer.status === 401 || answer.status === 403) {
    const message = `${host} denies access to ${what}: it may not exist, or need a login (${words})`;
    return new RegistryFailure("UNAUTHORIZED", message, {
      hint: "Log in with docker login or podman login.",
    });
  }
  if (answer.status === 429 && usedUp.test(header(answer.headers, "ratelimit-remaining") ?? "")) {
    return new RegistryFailure("UNREACHABLE", `${host} lets you have no more for now (${words})`, {
      hint: "Its quota is used up: log in for a larger one, or try again later.",
    });
  }
  return new RegistryFailure("UNREACHABLE", `${host} did not serve ${what} (${words})`, {
    retryable: passingStatuses.has(answer.status),
    retryAfterMs: parseRetryAfter(header(answer.headers, "retry-after"), now),
    hint: passingStatuses.has(answer.status) ? "Try again later." : undefined,
  });
}
