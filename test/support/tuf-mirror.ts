import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A repository of The Update Framework with one target and one key for all its roles, on a loopback port. */
export class TufMirror implements AsyncDisposable {
  readonly #key = generateKeyPairSync("ed25519");
  readonly #files: ReadonlyMap<string, string>;
  readonly requests: string[] = [];
  readonly #server = createServer(({ url = "" }, response) => {
    this.requests.push(url);
    const file = this.#files.get(url.slice(1));
    response.writeHead(file === undefined ? 404 : 200).end(file);
  });

  private constructor(trustedRoot: object) {
    const target = JSON.stringify(trustedRoot);
    const { keyId, key } = publicKeyOf(this.#key.publicKey);
    const role = { keyids: [keyId], threshold: 1 };
    const roles = { root: role, timestamp: role, snapshot: role, targets: role };
    const about = {
      length: target.length,
      hashes: { sha256: createHash("sha256").update(target).digest("hex") },
    };
    const documents = {
      root: { keys: { [keyId]: key }, roles, consistent_snapshot: false },
      timestamp: { meta: { "snapshot.json": { version: 1 } } },
      snapshot: { meta: { "targets.json": { version: 1 } } },
      targets: { targets: { "trusted_root.json": about } },
    };
    const signed = Object.entries(documents).map(
      ([type, content]) => [`${type}.json`, this.#signed(keyId, type, content)] as const,
    );
    this.#files = new Map([...signed, ["targets/trusted_root.json", target]]);
  }

  static async start(trustedRoot: object): Promise<TufMirror> {
    const mirror = new TufMirror(trustedRoot);
    mirror.#server.listen(0, "127.0.0.1");
    await once(mirror.#server, "listening");
    return mirror;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What whoever asks must have beforehand. */
  get firstRoot(): string {
    return this.#files.get("root.json") ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((closed) => this.#server.close(closed));
  }

  #signed(keyId: string, type: string, content: object): string {
    const expires = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d+/, "");
    const document = { _type: type, spec_version: "1.0.31", version: 1, expires, ...content };
    const signature = sign(undefined, Buffer.from(canonical(document)), this.#key.privateKey).toString("hex");
    return JSON.stringify({ signatures: [{ keyid: keyId, sig: signature }], signed: document });
  }
}

function publicKeyOf(publicKey: KeyObject): { readonly keyId: string; readonly key: object } {
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("hex");
  const key = { keytype: "ed25519", scheme: "ed25519", keyval: { public: raw } };
  return { keyId: createHash("sha256").update(canonical(key)).digest("hex"), key };
}

/** JSON with the names in order, and nothing between the tokens. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}
