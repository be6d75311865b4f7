import { SingleFlight } from "../registry/single-flight.js";
import type { Credential, CredentialProvider } from "./credential.js";
import { readCredentialFiles } from "./credential-files.js";
import { askHelper } from "./credential-helper.js";
import { credentialOf, type DockerConfig } from "./docker-config.js";
import { helperKey, mostParticular } from "./registry-key.js";

export interface FileCredentialsOptions {
  /** The one file to look in; it must exist. */
  readonly authFile?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/** Many repositories of one registry ask for the same thing within seconds; one run of a helper serves them all. */
const helperAnswerMs = 60_000;

/** Credentials from the files of Docker, Podman and Kubernetes, and from the helper programs that those name. */
export class FileCredentials implements CredentialProvider {
  readonly #options: FileCredentialsOptions;
  readonly #reads = new SingleFlight<readonly DockerConfig[]>();
  readonly #questions = new SingleFlight<Credential | undefined>();
  readonly #answers = new Map<string, { credential: Credential | undefined; until: number }>();

  constructor(options: FileCredentialsOptions) {
    this.#options = options;
  }

  async credentialFor(
    host: string,
    repository: string,
    signal?: AbortSignal,
  ): Promise<Credential | undefined> {
    // Read each time it is wanted: the files are small, and a login must not need a restart.
    const { authFile, environment } = this.#options;
    const configs = await this.#reads.run("files", signal, () => readCredentialFiles(authFile, environment));
    for (const config of configs) {
      const credential = await this.#inFile(config, host, repository, signal);
      if (credential !== undefined) return credential;
    }
    return undefined;
  }

  /** A helper for this registry, else the helper for all, else what the file itself has. */
  async #inFile(
    config: DockerConfig,
    host: string,
    repository: string,
    signal: AbortSignal | undefined,
  ): Promise<Credential | undefined> {
    const helper = mostParticular(config.credHelpers, host, repository) ?? config.credsStore;
    const kept = helper ? await this.#ask(helper, host, config.path, signal) : undefined;
    if (kept !== undefined) return kept;
    const entry = mostParticular(config.auths, host, repository);
    return entry === undefined ? undefined : credentialOf(entry, config.path);
  }

  async #ask(
    helper: string,
    host: string,
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<Credential | undefined> {
    const name = `${helper} ${host}`;
    const answered = this.#answers.get(name);
    if (answered !== undefined && answered.until > Date.now()) return answered.credential;
    return await this.#questions.run(name, signal, async (shared) => {
      const question = { helper, key: helperKey(host), path };
      const credential = await askHelper(question, this.#options.environment, shared);
      this.#answers.set(name, { credential, until: Date.now() + helperAnswerMs });
      return credential;
    });
  }
}
