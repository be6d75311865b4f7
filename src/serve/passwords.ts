import { createHmac, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { compare } from "bcryptjs";
import { BpfcacheError } from "../core/errors.js";

const bcryptHash = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/;
/** How many logins are remembered as good: a client sends its own with every request, and bcrypt is slow on purpose. */
const maxRemembered = 1_000;
/** What an unknown user's password is compared with, so that it takes as long as a known one's. */
const nobody = "$2b$05$abcdefghijklmnopqrstuuM5QPIrvCZkZpeEVjUqvDGXNxbQDwV9C";

/** The users of a file as `htpasswd -B` writes it; like distribution and zot, only its bcrypt lines count. */
export class Passwords {
  readonly #hashes: ReadonlyMap<string, string>;
  readonly #key = randomBytes(32);
  readonly #good = new Set<string>();

  private constructor(hashes: ReadonlyMap<string, string>) {
    this.#hashes = hashes;
  }

  /** Throws USAGE when the file cannot be read, or has a line that is not bcrypt. */
  static async read(path: string): Promise<Passwords> {
    const content = await readFile(path, "utf8").catch((cause: Error) => {
      throw new BpfcacheError("USAGE", `cannot read ${path}: ${cause.message}`, { cause });
    });
    const hashes = new Map<string, string>();
    for (const [index, line] of content.split("\n").entries()) {
      if (line.trim() === "" || line.startsWith("#")) continue;
      const colon = line.indexOf(":");
      const hash = line.slice(colon + 1).trim();
      if (colon < 1 || !bcryptHash.test(hash)) {
        throw new BpfcacheError("USAGE", `${path}, line ${index + 1}: not a user with a bcrypt password`, {
          hint: "Write the file with htpasswd -B.",
        });
      }
      hashes.set(line.slice(0, colon), hash);
    }
    return new Passwords(hashes);
  }

  /** Whether the value of an Authorization header is a user's name and password (RFC 7617). */
  async accept(authorization: string | undefined): Promise<boolean> {
    const encoded = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? "")?.[1];
    if (encoded === undefined) return false;
    const mark = createHmac("sha256", this.#key).update(encoded).digest("base64");
    if (this.#good.has(mark)) return true;
    const [, user = "", password = ""] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, "base64").toString()) ?? [];
    const hash = this.#hashes.get(user);
    const isRight = (await compare(password, hash ?? nobody)) && hash !== undefined;
    if (isRight) this.#remember(mark);
    return isRight;
  }

  #remember(mark: string): void {
    if (this.#good.size === maxRemembered) this.#good.clear();
    this.#good.add(mark);
  }
}
