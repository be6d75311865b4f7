import { BpfcacheError } from "../../core/errors.js";
import { isLoopbackHost } from "../registry/addresses.js";
import { OrasProgram } from "./oras-program.js";

export interface OrasAccessOptions {
  /** How long one run may take. */
  readonly timeoutMs: number;
  /** Registries that are spoken to over http. */
  readonly plainHttp?: readonly string[] | undefined;
  /** Credentials in the form of Docker's config.json; by default oras looks where it always does. */
  readonly authFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/** What the flags for a registry begin with: `oras cp` has two of them. */
export type OrasRole = "" | "from-" | "to-";

/** Runs oras against registries, each spoken to in its own way. */
export class OrasAccess {
  readonly #oras: OrasProgram;
  readonly #options: OrasAccessOptions;
  readonly #plainHosts: Set<string>;

  constructor(options: OrasAccessOptions) {
    this.#options = options;
    this.#oras = new OrasProgram(options);
    this.#plainHosts = new Set(options.plainHttp);
  }

  /**
   * Runs oras with the arguments that `args` makes of the flags for `host`, and returns what it prints. A loopback
   * registry may speak http: that is tried when it turns out not to speak https. Throws as `OrasProgram.run`.
   */
  async run(
    role: OrasRole,
    host: string,
    args: (flags: readonly string[]) => readonly string[],
    signal?: AbortSignal | undefined,
  ): Promise<string> {
    const wasPlain = this.#plainHosts.has(host);
    try {
      return await this.#oras.run(args(this.#flags(role, host)), signal);
    } catch (error) {
      const speaksHttp =
        error instanceof BpfcacheError && /HTTP response to HTTPS client/.test(error.message);
      if (!speaksHttp || wasPlain || !isLoopbackHost(hostnameOf(host))) throw error;
      this.#plainHosts.add(host);
      return this.#oras.run(args(this.#flags(role, host)), signal);
    }
  }

  #flags(role: OrasRole, host: string): string[] {
    const { authFile, caFile } = this.#options;
    return [
      ...(this.#plainHosts.has(host) ? [`--${role}plain-http`] : []),
      ...(authFile === undefined ? [] : [`--${role}registry-config`, authFile]),
      ...(caFile === undefined ? [] : [`--${role}ca-file`, caFile]),
    ];
  }
}

function hostnameOf(host: string): string {
  return new URL(`http://${host}`).hostname;
}
