import type { LookupFunction } from "node:net";
import { type Digest, DigestVerifier, digestAlgorithm, digestOf } from "../../core/digest.js";
import { type BpfcacheError, throwIfAborted, toBpfcacheError } from "../../core/errors.js";
import { type Limits, withLimits } from "../../core/limits.js";
import type { Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import { parseManifest } from "../../image/manifest.js";
import type { CredentialProvider } from "../credentials/credential.js";
import { FileCredentials } from "../credentials/file-credentials.js";
import type { ImageSource, Referrer, Resolution, ResolveOptions, SourceOptions } from "../image-source.js";
import { Locations } from "../locations/locations.js";
import { Authorizer } from "./authorizer.js";
import { type ChallengeMemory, challengeMemory } from "./challenge-memory.js";
import { type Clock, systemClock } from "./clock.js";
import { contentRequest, manifestRequest, refuseForeign } from "./content-requests.js";
import { Dispatchers } from "./dispatchers.js";
import { RegistryFailure } from "./failure.js";
import { contentType, header } from "./headers.js";
import { certificateDirectories } from "./host-certificates.js";
import { Places, type Turn } from "./places.js";
import { Referrers } from "./referrers.js";
import { RegistryClient, type RegistryRequest } from "./registry-client.js";
import { ResumableBlob } from "./resumable-blob.js";
import { Retries } from "./retries.js";
import { Schemes } from "./schemes.js";
import { TokenService } from "./token-service.js";
import { type Answer, type Call, Transport } from "./transport.js";
import { Warnings } from "./warnings.js";

export interface RegistryOptions {
  readonly limits?: Partial<Limits> | undefined;
  /** Hosts (host or host:port) spoken to over http. Loopback hosts may use http without being named. */
  readonly plainHttp?: readonly string[] | undefined;
  /** The one file to look for credentials in, instead of Docker's and Podman's usual places. */
  readonly authFile?: string | undefined;
  /** PEM certificates of authorities to trust beside the public ones. */
  readonly caFile?: string | undefined;
  /** Directories with a directory of certificates per host; Podman's and Docker's certs.d unless given. */
  readonly certificateDirectories?: readonly string[] | undefined;
  /** containerd's tree of hosts.toml files; it must exist. /etc/containerd/certs.d unless given, if that exists. */
  readonly hostsDirectory?: string | undefined;
  /** Podman's registries.conf, read with the files in the directory of its name and `.d`; its usual places unless given. */
  readonly registriesConf?: string | undefined;
  /** Replaces the credential files altogether. */
  readonly credentials?: CredentialProvider | undefined;
  /** Where challenges of registries are remembered; in memory unless given. */
  readonly challenges?: ChallengeMemory | undefined;
  /** Where proxies and the places of credential files are read from. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
  /** @internal For tests: waits take no time, chance is fixed. */
  readonly clock?: Clock | undefined;
  /** @internal For tests: names that lead to 127.0.0.1 though they are not local. */
  readonly lookup?: LookupFunction | undefined;
}

/** Images in an OCI registry, over HTTP. */
export class RegistrySource implements ImageSource {
  readonly name = "registry";
  readonly #limits: Limits;
  readonly #transport: Transport;
  readonly #retries: Retries;
  readonly #authorizer: Authorizer;
  readonly #client: RegistryClient;
  readonly #referrers: Referrers;
  readonly #places: Places;
  readonly #warnings = new Warnings();

  constructor(options: RegistryOptions = {}) {
    const { authFile, caFile, clock = systemClock, environment = process.env, lookup } = options;
    this.#limits = withLimits(options.limits);
    this.#transport = new Transport(
      new Dispatchers({
        limits: this.#limits,
        caFile,
        lookup,
        environment,
        certificateDirectories: options.certificateDirectories ?? certificateDirectories(environment),
      }),
      this.#limits,
    );
    this.#retries = new Retries(this.#limits.retries, clock);
    const tokens = new TokenService(this.#transport, this.#retries, this.#limits, clock);
    const credentials = options.credentials ?? new FileCredentials({ authFile, environment });
    this.#authorizer = new Authorizer(tokens, credentials, options.challenges ?? challengeMemory());
    this.#client = new RegistryClient(
      this.#transport,
      this.#authorizer,
      this.#retries,
      new Schemes(),
      this.#warnings,
      this.#limits,
      clock,
    );
    this.#referrers = new Referrers(this.#client, this.#limits);
    const { hostsDirectory, registriesConf, plainHttp = [] } = options;
    const locations = new Locations({ hostsDirectory, registriesConf, environment });
    this.#places = new Places(
      locations,
      { plainHttp, isTlsLikely: caFile !== undefined },
      this.#warnings,
      clock,
    );
  }

  async resolve(reference: Reference, options: ResolveOptions = {}): Promise<Resolution> {
    return await aboutReference(reference, async () => {
      const { known } = options;
      throwIfAborted(options.signal);
      // A digest names the same bytes for ever: nothing to ask.
      if (known !== undefined && known.digest === reference.digest)
        return { unchanged: true, bytesFetched: 0 };
      const capability = reference.digest === undefined ? "resolve" : "pull";
      return await this.#places.ask(reference, capability, callFor(reference, options), (turn) =>
        this.#resolveAt(turn, reference, known),
      );
    });
  }

  async fetch(
    reference: Reference,
    descriptor: Descriptor,
    options: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    return await aboutReference(reference, async () => {
      refuseForeign(descriptor);
      return await this.#places.ask(reference, "pull", callFor(reference, options), (turn) =>
        this.#fetchAt(turn, reference, descriptor),
      );
    });
  }

  /** By the referrers API or the index under its fall-back tag, and by cosign's tags. */
  async referrers(
    reference: Reference,
    subject: Digest,
    options: SourceOptions = {},
  ): Promise<readonly Referrer[]> {
    return await aboutReference(reference, async () =>
      this.#places.ask(reference, "referrers", callFor(reference, options), async (turn) => {
        const { endpoint, call, isMirror } = turn;
        const found = await this.#referrers.list({ endpoint, subject }, call);
        // A mirror that does not keep them looks like one that has none: the registry itself has to say so.
        if (!isMirror || found.length > 0) return found;
        throw new RegistryFailure(
          "NOT_FOUND",
          `${endpoint.networkHost} knows nothing that refers to ${subject}`,
        );
      }),
    );
  }

  announce(references: readonly Reference[]): void {
    this.#authorizer.batches.announce(references);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #resolveAt(turn: Turn, reference: Reference, known: ResolveOptions["known"]): Promise<Resolution> {
    const { endpoint, call, isMirror } = turn;
    const request = manifestRequest(endpoint, reference);
    if (known === undefined) this.#transport.expectBusy(endpoint.networkHost);
    if (known !== undefined && (await this.#isUnchangedOnHub(request, known.digest, call))) {
      return { unchanged: true, bytesFetched: 0 };
    }
    const resolution = await this.#getRoot(request, reference, known, call);
    if (isMirror && !resolution.unchanged) parseManifest(resolution.bytes, resolution.descriptor.mediaType);
    return resolution;
  }

  /** From a mirror, all of it is read and checked first: what the reader has seen cannot be taken back. */
  async #fetchAt(
    { endpoint, call, isMirror }: Turn,
    reference: Reference,
    descriptor: Descriptor,
  ): Promise<AsyncIterable<Uint8Array>> {
    const request = contentRequest(endpoint, reference, descriptor);
    const blob = new ResumableBlob(this.#client, this.#retries, request, descriptor.size, call);
    await blob.open();
    if (!isMirror) return blob;
    const verifier = new DigestVerifier(
      descriptor.digest,
      descriptor.size,
      `${endpoint.networkHost} sent something else as ${request.what}`,
    );
    const chunks: Uint8Array[] = [];
    for await (const chunk of blob.chunks()) {
      verifier.update(chunk);
      chunks.push(chunk);
    }
    verifier.finish();
    return handedOn(chunks);
  }

  /** Docker Hub counts every GET of a manifest against the user's quota, and HEAD not at all. */
  async #isUnchangedOnHub(request: RegistryRequest, known: Digest, call: Call): Promise<boolean> {
    if (request.endpoint.host !== "docker.io") return false;
    return await this.#client.perform(
      // Whatever else it answers, the GET that follows finds out properly.
      { ...request, method: "HEAD", accepts: [200, 304, 400, 401, 403, 404, 405] },
      call,
      async (answer) => {
        await answer.discard();
        return answer.status === 200 && header(answer.headers, "docker-content-digest") === known;
      },
    );
  }

  async #getRoot(
    request: RegistryRequest,
    reference: Reference,
    known: ResolveOptions["known"],
    call: Call,
  ): Promise<Resolution> {
    const validator = known === undefined ? undefined : (known.etag ?? `"${known.digest}"`);
    const conditional: RegistryRequest =
      validator === undefined
        ? request
        : { ...request, headers: { ...request.headers, "if-none-match": validator }, accepts: [200, 304] };
    return await this.#client.perform(conditional, call, async (answer) => {
      if (answer.status === 304) {
        await answer.discard();
        return { unchanged: true, bytesFetched: 0 };
      }
      const bytes = await answer.readAll(this.#limits.manifestBytes);
      if (bytes === undefined) throw manifestTooLong(request, this.#limits.manifestBytes);
      const digest = digestOf(
        bytes,
        reference.digest === undefined ? "sha256" : digestAlgorithm(reference.digest),
      );
      if (reference.digest !== undefined && digest !== reference.digest) {
        throw mismatch(answer, request.what, reference.digest, digest);
      }
      if (digest === known?.digest) return { unchanged: true, bytesFetched: bytes.byteLength };
      this.#noteDigestHeader(answer, digest, request, call);
      const mediaType = contentType(answer.headers) ?? "application/octet-stream";
      const etag = header(answer.headers, "etag");
      return { unchanged: false, descriptor: { mediaType, digest, size: bytes.byteLength }, bytes, etag };
    });
  }

  /** What the registry says the digest is decides nothing (CVE-2025-24882); that it is wrong is worth knowing. */
  #noteDigestHeader(answer: Answer, digest: Digest, request: RegistryRequest, call: Call): void {
    const claimed = header(answer.headers, "docker-content-digest");
    if (claimed === undefined || claimed === digest || !claimed.startsWith(`${digestAlgorithm(digest)}:`))
      return;
    const shown = claimed.slice(0, 80);
    this.#warnings.warn(`${answer.url.host} calls ${request.what} ${shown}, but it is ${digest}`, call);
  }
}

async function* handedOn(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks;
}

function callFor(reference: Reference, { signal, onEvent, onRequest }: SourceOptions): Call {
  return { reference: reference.toString(), signal, onEvent, onRequest };
}

function manifestTooLong({ what, endpoint }: RegistryRequest, limit: number): RegistryFailure {
  return new RegistryFailure("INVALID_IMAGE", `${endpoint.host} sent more than ${limit} bytes as ${what}`);
}

function mismatch(answer: Answer, what: string, expected: Digest, found: Digest): RegistryFailure {
  const message = `${answer.url.host} sent something else as ${what}: expected ${expected}, found ${found}`;
  return new RegistryFailure("DIGEST_MISMATCH", message, { expected, found });
}

/** Gives every failure the reference it is about, and turns the client's own kind of error into the public one. */
async function aboutReference<T>(reference: Reference, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw publicError(error, reference.toString());
  }
}

function publicError(error: unknown, reference: string): BpfcacheError {
  return toBpfcacheError(error).about(reference);
}
