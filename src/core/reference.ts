import { isIPv6 } from "node:net";
import { type Digest, parseDigest } from "./digest.js";
import { BpfcacheError } from "./errors.js";
import { defaultLimits } from "./limits.js";

// The grammar and Docker's normalisation are those of github.com/distribution/reference (reference.go, normalize.go).
const pathComponent = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hostLabel = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/;
const schemeForm = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i;
const maxPathLength = 255;

/** An image's name: `host/repository[:tag][@digest]`. Made only by `parseReference`; `toString` gives the canonical form. */
export class Reference {
  readonly #text: string;

  private constructor(
    /** Registry as named, lower case, with its port if one was given: `quay.io`, `localhost:5000`, `[::1]:5000`. */
    readonly host: string,
    /** Path within the registry: `library/busybox`. */
    readonly repository: string,
    readonly tag: string | undefined,
    /** When present it alone decides what is fetched and served; the tag is then only a remark. */
    readonly digest: Digest | undefined,
  ) {
    this.#text = `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
  }

  /** @internal Only for `parseReference`. */
  static of(
    host: string,
    repository: string,
    tag: string | undefined,
    digest: Digest | undefined,
  ): Reference {
    return new Reference(host, repository, tag, digest);
  }

  /** `host/repository`. */
  get name(): string {
    return `${this.host}/${this.repository}`;
  }

  toString(): string {
    return this.#text;
  }
}

/**
 * Parses an image reference as Docker, skopeo and crane do: no host means docker.io, a single name there is in
 * `library/`, and without tag and digest the tag is `latest`. Throws USAGE with the reason and the likely remedy.
 */
export function parseReference(text: string): Reference {
  refuseCommonMistakes(text);
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : parseReferenceDigest(text, text.slice(at + 1));
  const beforeDigest = at < 0 ? text : text.slice(0, at);
  const { name, tag } = splitTag(beforeDigest);
  if (tag !== undefined && !tagForm.test(tag)) {
    throw malformed(text, `the tag ${JSON.stringify(tag)} is not valid`, tagHint);
  }
  const { host, repository } = splitHost(name, text);
  checkRepository(repository, text);
  const effectiveTag = tag ?? (digest === undefined ? "latest" : undefined);
  return Reference.of(host, repository, effectiveTag, digest);
}

const tagHint =
  "A tag is up to 128 letters, digits, dots, dashes and underscores, and does not begin with a dot or dash.";

function refuseCommonMistakes(text: string): void {
  if (text === "") throw malformed(text, "it is empty");
  if (Buffer.byteLength(text) > defaultLimits.referenceBytes) {
    throw malformed(`${text.slice(0, 60)}…`, `it is longer than ${defaultLimits.referenceBytes} bytes`);
  }
  const scheme = schemeForm.exec(text);
  if (scheme !== null) {
    throw malformed(text, `it begins with a scheme, "${scheme[1]}://"`, `Write it without: ${scheme[2]}`);
  }
  if (/\s/.test(text)) throw malformed(text, "it contains white space");
  if (/^[0-9a-f]{64}$/.test(text)) {
    throw malformed(
      text,
      "it is a bare digest or image id",
      `Name the repository too: REPOSITORY@sha256:${text}`,
    );
  }
}

function parseReferenceDigest(text: string, digest: string): Digest {
  try {
    return parseDigest(digest);
  } catch (error) {
    throw malformed(text, error instanceof Error ? error.message : String(error));
  }
}

/** A colon after the last slash begins the tag; earlier ones belong to a port or an IPv6 address. */
function splitTag(text: string): { name: string; tag: string | undefined } {
  const colon = text.lastIndexOf(":");
  if (colon < 0 || colon < text.lastIndexOf("/")) return { name: text, tag: undefined };
  return { name: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitHost(name: string, text: string): { host: string; repository: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  if (slash < 0 || !looksLikeHost(first)) return { host: "docker.io", repository: inDockerHub(name) };
  const host = canonicalHost(first, text);
  const repository = name.slice(slash + 1);
  return { host, repository: host === "docker.io" ? inDockerHub(repository) : repository };
}

/** Whether the first part of a name is a registry rather than a namespace at Docker Hub. */
export function looksLikeHost(component: string): boolean {
  return component === "localhost" || /[.:[]|[A-Z]/.test(component);
}

function inDockerHub(repository: string): string {
  return repository.includes("/") ? repository : `library/${repository}`;
}

function canonicalHost(host: string, text: string): string {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host);
  if (match === null) throw malformed(text, `${JSON.stringify(host)} is not a host or host:port`);
  const [, bare = "", port] = match;
  const valid = bare.startsWith("[") ? isIPv6(bare.slice(1, -1)) && !bare.includes("%") : validDomain(bare);
  if (!valid) throw malformed(text, `${JSON.stringify(bare)} is not a host name or address`);
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) {
    throw malformed(text, `${port} is not a port`);
  }
  const lower = host.toLowerCase();
  return lower === "index.docker.io" ? "docker.io" : lower;
}

function validDomain(host: string): boolean {
  return host.length <= 253 && host.split(".").every((label) => hostLabel.test(label) && label.length <= 63);
}

function checkRepository(repository: string, text: string): void {
  if (/[A-Z]/.test(repository)) {
    throw malformed(
      text,
      "the repository must be lower case",
      `Did you mean ${text.replace(repository, repository.toLowerCase())}?`,
    );
  }
  if (repository.length > maxPathLength)
    throw malformed(text, `the repository is longer than ${maxPathLength} characters`);
  for (const component of repository.split("/")) {
    if (component === "") throw malformed(text, "the repository has an empty part");
    if (!pathComponent.test(component)) {
      throw malformed(text, `${JSON.stringify(component)} is not a valid part of a repository name`);
    }
  }
}

function malformed(text: string, reason: string, hint?: string): BpfcacheError {
  return new BpfcacheError("USAGE", `${JSON.stringify(text)} is not an image reference: ${reason}`, {
    reference: text,
    hint:
      hint ??
      "A reference is [host[:port]/]repository[:tag][@sha256:digest], for example quay.io/org/program:v1.",
  });
}
