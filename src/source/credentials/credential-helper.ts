import { z } from "zod";
import { BpfcacheError } from "../../core/errors.js";
import { type ProgramEnd, runProgram } from "../../core/run-program.js";
import type { Credential } from "./credential.js";

/** A name becomes part of a program's name; it must not be a path or an option. */
const helperName = /^[A-Za-z0-9][\w.-]{0,63}$/;
const timeoutMs = 30_000;
const maxOutputBytes = 64 * 1024;

const answerSchema = z.object({ Username: z.string(), Secret: z.string() });

export interface HelperQuestion {
  /** `pass` for `docker-credential-pass`. */
  readonly helper: string;
  /** The registry, in the spelling helpers know. */
  readonly key: string;
  /** Which file named the helper, for messages. */
  readonly path: string;
}

/**
 * Asks `docker-credential-<helper> get` (docker-credential-helpers, "Development"), without a shell and with the
 * registry on stdin. Undefined when it has nothing for that registry. Throws TOOL_FAILED when it is missing, fails,
 * takes longer than 30 s or talks nonsense; what it prints is never quoted, because it may be the secret.
 */
export async function askHelper(
  question: HelperQuestion,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const { helper, key, path } = question;
  if (!helperName.test(helper)) {
    throw new BpfcacheError(
      "USAGE",
      `${path} names an impossible credential helper, ${JSON.stringify(helper)}`,
    );
  }
  const program = `docker-credential-${helper}`;
  const options = { timeoutMs, maxOutputBytes, environment, input: key, signal };
  const end = await runProgram(program, ["get"], options).catch((error: unknown) => {
    const reason = startFailure(error);
    throw reason === undefined ? error : failed(question, program, reason);
  });
  // The helpers' common library prints this on stdout and exits with 1.
  if (end.status > 0 && /credentials not found/i.test(end.stdout)) return undefined;
  const reason = reasonAgainst(end);
  if (reason !== undefined) throw failed(question, program, reason);
  return parseAnswer(end.stdout, program) ?? refuseNonsense(question, program, end.stdout);
}

/** Why it could not be started, if that is what has happened. */
function startFailure(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  if (error.code === "ENOENT") return "there is no such program in PATH";
  if (error.code === "EACCES") return "it may not be executed";
  return error instanceof BpfcacheError ? undefined : error.message;
}

function reasonAgainst({ status, isTimedOut, isTooLong }: ProgramEnd): string | undefined {
  if (isTimedOut) return `it did not answer within ${timeoutMs / 1_000} seconds`;
  if (isTooLong) return "it prints too much";
  if (status === 0) return undefined;
  return status < 0 ? "a signal ended it" : `it exited with ${status}`;
}

function parseAnswer(stdout: string, program: string): Credential | undefined {
  let json: unknown;
  try {
    json = JSON.parse(stdout);
  } catch {
    return undefined;
  }
  const answer = answerSchema.safeParse(json);
  if (!answer.success || answer.data.Secret === "") return undefined;
  const { Username: username, Secret: secret } = answer.data;
  // docker login keeps an OAuth2 refresh token under this name.
  if (username === "<token>") return { kind: "identity-token", token: secret, from: program };
  return { kind: "password", username, password: secret, from: program };
}

/** Some helpers answer an empty pair for a registry they do not know. */
function refuseNonsense(question: HelperQuestion, program: string, stdout: string): undefined {
  const isEmptyPair = /"Secret"\s*:\s*""/.test(stdout);
  if (!isEmptyPair) throw failed(question, program, "its answer is not the JSON of a credential");
}

function failed({ key, path }: HelperQuestion, program: string, reason: string): BpfcacheError {
  return new BpfcacheError("TOOL_FAILED", `${program}, asked for a login to ${key}, failed: ${reason}`, {
    hint: `${path} names this program; install it, or take it out there.`,
  });
}
