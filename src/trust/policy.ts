import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Digest, isDigest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { parseReference, type Reference } from "../core/reference.js";
import { loadToml } from "./packages.js";
import { lineOf } from "./policy-lines.js";
import { hasConditions, type PolicyDocument, policySchema, type RuleDocument } from "./policy-schema.js";
import { identitySigner, keySigner, nameInFingerprint, type Signer } from "./signer.js";

/** What becomes of an image: it may be used, or may with a warning, or may not. */
export type Action = "accept" | "warn" | "reject";

/** What an operator says may be loaded. */
export interface Policy {
  /** sha256 over all that can change a decision, in hex: two policies with the same one decide the same. */
  readonly fingerprint: string;
  readonly defaultAction: Action;
  readonly rules: readonly Rule[];
  /** Where the certificates and keys come from that keyless signatures are checked against. */
  readonly roots: RootsPolicy;
}

export interface Rule {
  /** What it covers: a registry, or what repositories begin with. */
  readonly scope: string;
  /** What the rule decides by itself; of one with conditions, what becomes of an image that does not meet them. */
  readonly action: Action;
  /** All that is here must hold. Undefined when the rule asks nothing of the image. */
  readonly conditions: Conditions | undefined;
}

export interface Conditions {
  readonly references: readonly Reference[] | undefined;
  readonly digests: ReadonlySet<Digest> | undefined;
  readonly signers: readonly Signer[];
  /** How many of them must have signed. */
  readonly needed: number;
}

export interface RootsPolicy {
  /** The document trusted_root.json as the operator has it, parsed. */
  readonly given: unknown;
  readonly mirror: string;
  /** The mirror's own first root of trust, when it is not the public one's. */
  readonly mirrorRoot: string | undefined;
}

/** Where the policy is. Library and command line take no other one than they are told. */
export interface TrustOptions {
  /** The path of a policy in TOML. */
  readonly policyFile?: string | undefined;
  /** The policy itself, in the place of a file; paths in it are relative to the working directory. */
  readonly policy?: string | undefined;
  /** The path of a trusted_root.json: keyless signatures are checked against that alone, and no mirror is asked. */
  readonly trustedRoot?: string | undefined;
}

/** Of Sigstore's public instance. */
export const publicMirror = "https://tuf-repo-cdn.sigstore.dev";

let schema: ReturnType<typeof policySchema> | undefined;

const maxPolicyBytes = 4 * 1024 * 1024;

/** The policy that the options name, or undefined when they name none. Throws USAGE, with the line and the reason. */
export function loadPolicy(options: TrustOptions | undefined): Policy | undefined {
  const { policyFile, policy, trustedRoot } = options ?? {};
  if (policyFile !== undefined && policy !== undefined)
    throw new BpfcacheError("USAGE", "the trust policy is given twice, as a file and as text");
  if (policyFile !== undefined)
    return parsePolicy(readText(policyFile, "the trust policy"), policyFile, trustedRoot);
  if (policy !== undefined) return parsePolicy(policy, "the trust policy", trustedRoot, process.cwd());
  if (trustedRoot !== undefined)
    throw new BpfcacheError("USAGE", "a trusted root is of no use without a trust policy", {
      hint: "Name the policy with --policy FILE.",
    });
  return undefined;
}

/** `name` is for messages; paths in the policy are relative to `directory`. Throws USAGE. */
export function parsePolicy(
  text: string,
  name: string,
  trustedRoot?: string,
  directory: string = dirname(name),
): Policy {
  return new PolicyParser(text, name, directory).parse(trustedRoot);
}

class PolicyParser {
  readonly #text: string;
  readonly #name: string;
  readonly #directory: string;

  constructor(text: string, name: string, directory: string) {
    this.#text = text;
    this.#name = name;
    this.#directory = directory;
  }

  parse(trustedRoot: string | undefined): Policy {
    if (Buffer.byteLength(this.#text) > maxPolicyBytes)
      throw this.#malformed(undefined, `it is longer than ${maxPolicyBytes} bytes`);
    const document = this.#document();
    const rules = (document.rule ?? []).map((rule, index) => this.#rule(rule, index));
    this.#requireDistinctScopes(rules);
    const roots = this.#roots(document, trustedRoot);
    return {
      fingerprint: fingerprintOf(document.default, rules, roots),
      defaultAction: document.default,
      rules,
      roots,
    };
  }

  #document(): PolicyDocument {
    schema ??= policySchema();
    const parsed = schema.safeParse(this.#toml());
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
    const path = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])];
    throw this.#malformed(
      path,
      unknown === undefined ? (issue?.message ?? "is not valid") : "is not known here",
    );
  }

  #toml(): unknown {
    const { parse, TomlError } = loadToml();
    try {
      return parse(this.#text);
    } catch (cause) {
      if (!(cause instanceof TomlError)) throw this.#malformed(undefined, "it cannot be read as TOML", cause);
      const [first = ""] = cause.message.replace(/^Invalid TOML document: /, "").split("\n");
      const message = `${this.#name}, line ${cause.line}, column ${cause.column}: ${first}`;
      throw new BpfcacheError("USAGE", message, { cause });
    }
  }

  #rule(document: RuleDocument, index: number): Rule {
    const { scope, action = "reject" } = document;
    if (!hasConditions(document)) return { scope, action, conditions: undefined };
    const keys = (document.keys ?? []).map((key, at) => this.#key(key, ["rule", index, "keys", at]));
    const signers = [...keys, ...(document.identities ?? []).map(identitySigner)];
    this.#requireDistinctSigners(signers, index);
    const { require = "any" } = document;
    const references = document.references?.map((text, at) =>
      this.#reading(["rule", index, "references", at], () => parseReference(text)),
    );
    const digests = document.digests?.map((text, at) => {
      if (isDigest(text)) return text;
      throw this.#malformed(["rule", index, "digests", at], "is not a sha256 or sha512 digest");
    });
    const needed =
      require === "all" ? signers.length : require === "any" ? Math.min(1, signers.length) : require;
    return {
      scope,
      action,
      conditions: { references, digests: digests && new Set(digests), signers, needed },
    };
  }

  #key(entry: string, path: readonly PropertyKey[]): Signer {
    return this.#reading(path, () => {
      if (entry.includes("-----BEGIN"))
        return keySigner(entry, `key ${Number(path.at(-1)) + 1} of the policy`);
      return keySigner(readText(resolve(this.#directory, entry), "the key"), entry);
    });
  }

  /** Where two of the same would both decide, it would depend on their order which one does. */
  #requireDistinctScopes(rules: readonly Rule[]): void {
    const seen = new Set<string>();
    for (const [index, { scope }] of rules.entries()) {
      if (seen.has(scope))
        throw this.#malformed(["rule", index, "scope"], "is the scope of another rule too");
      seen.add(scope);
    }
  }

  /** One signer under two names must not count as two. */
  #requireDistinctSigners(signers: readonly Signer[], rule: number): void {
    const names = signers.map((signer) => JSON.stringify(nameInFingerprint(signer)));
    if (new Set(names).size !== names.length) throw this.#malformed(["rule", rule], "names a signer twice");
  }

  #roots({ trusted_root, tuf }: PolicyDocument, override: string | undefined): RootsPolicy {
    const inPolicy = trusted_root === undefined ? undefined : resolve(this.#directory, trusted_root);
    const path = override ?? inPolicy;
    return {
      given: path === undefined ? undefined : readJson(path, "the trusted root"),
      mirror: tuf?.mirror.replace(/\/$/, "") ?? publicMirror,
      mirrorRoot: tuf && resolve(this.#directory, tuf.root),
    };
  }

  #reading<T>(path: readonly PropertyKey[], read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw this.#malformed(path, cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  #malformed(path: readonly PropertyKey[] | undefined, reason: string, cause?: unknown): BpfcacheError {
    const line = path && lineOf(this.#text, path);
    const where = line === undefined ? this.#name : `${this.#name}, line ${line}`;
    const what = path === undefined || path.length === 0 ? "" : `${written(path)}: `;
    return new BpfcacheError("USAGE", `${where}: ${what}${reason}`, {
      cause,
      hint: "Correct the trust policy: nothing is decided by one that is not understood.",
    });
  }
}

function fingerprintOf(defaultAction: Action, rules: readonly Rule[], roots: RootsPolicy): string {
  const isKeyless = rules.some(({ conditions }) =>
    conditions?.signers.some(({ kind }) => kind === "identity"),
  );
  const content = {
    version: 1,
    defaultAction,
    rules: rules.map(({ scope, action, conditions }) => ({
      scope,
      action,
      references: conditions?.references?.map(String),
      digests: conditions?.digests && [...conditions.digests],
      signers: conditions?.signers.map(nameInFingerprint),
      needed: conditions?.needed,
    })),
    // What a mirror publishes changes by itself, and takes nothing back that it once vouched for.
    roots: isKeyless ? { given: roots.given, mirror: roots.mirror } : undefined,
  };
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

/** As it would be written in the file: `rule[0].keys[1]`. */
function written(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .slice(1);
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new BpfcacheError("USAGE", `${what} ${path} cannot be read`, { cause });
  }
}

function readJson(path: string, what: string): unknown {
  const text = readText(path, what);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BpfcacheError("USAGE", `${what} ${path} is not JSON`, { cause });
  }
}
