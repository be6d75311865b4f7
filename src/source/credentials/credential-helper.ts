import { execFile } from "node:child_process";
import { z } from "zod";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
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

interface Outcome {
  readonly error: (Error & { code?: unknown; killed?: boolean }) | undefined;
  readonly stdout: string;
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
  throwIfAborted(signal);
  const program = `docker-credential-${helper}`;
  const { error, stdout } = await run(program, key, environment, signal);
  throwIfAborted(signal);
  if (error !== undefined) {
    // The helpers' common library prints this on stdout and exits with 1.
    if (typeof error.code === "number" && /credentials not found/i.test(stdout)) return undefined;
    throw failed(question, program, reasonOf(error));
  }
  return parseAnswer(stdout, program) ?? refuseNonsense(question, program, stdout);
}

function run(
  program: string,
  key: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env, timeout: timeoutMs, maxBuffer: maxOutputBytes, killSignal: "SIGKILL" as const };
    const aborting = signal === undefined ? options : { ...options, signal };
    const child = execFile(program, ["get"], aborting, (error, stdout) =>
      resolve({ error: error ?? undefined, stdout }),
    );
    // A helper may end without reading; that is its exit status's business.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(key);
  });
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

function reasonOf({ code, killed, message }: NonNullable<Outcome["error"]>): string {
  if (code === "ENOENT") return "there is no such program in PATH";
  if (code === "EACCES") return "it may not be executed";
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return "it prints too much";
  if (killed === true) return `it did not answer within ${timeoutMs / 1_000} seconds`;
  return typeof code === "number" ? `it exited with ${code}` : message;
}

function failed({ key, path }: HelperQuestion, program: string, reason: string): BpfcacheError {
  return new BpfcacheError("TOOL_FAILED", `${program}, asked for a login to ${key}, failed: ${reason}`, {
    hint: `${path} names this program; install it, or take it out there.`,
  });
}
