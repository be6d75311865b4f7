import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { json, lastLine, User } from "../cli/command.js";
import { requireTools } from "../support/tools.js";
import { execute, imageNamed, indexNamed, pushWithSkopeo, writeAuthFile } from "./images.js";
import { type Exchange, serialRoundTrips } from "./reverse-proxy.js";
import { owner, TokenRegistry } from "./token-registry.js";

// What pulls cost at a registry with tokens: requests counted, and round trips measured, by a proxy in front of both
// the registry and its token service. Long enough that requests sent together overlap there on a busy machine too.
const latencyMs = 60;
const platform = ["--platform", "linux/amd64"];

const missing = requireTools("docker-registry", "skopeo", "openssl");
describe.skipIf(missing)(`Debian's docker-registry with token authentication${missing ?? ""}`, () => {
  let registry: TokenRegistry;
  beforeAll(async () => {
    registry = await TokenRegistry.start(latencyMs);
    const names = ["1", "2", "3"];
    const singles = names.map((name) => [`org/app:single-${name}`, imageNamed(`single_${name}`)] as const);
    const indexes = names.map((name) => [`org/app:index-${name}`, indexNamed(`index_${name}`)] as const);
    const hidden = ["private/app:v1", imageNamed("hidden")] as const;
    const images = [...singles, ...indexes, hidden].map(([name, image]) => [reference(name), image] as const);
    await pushWithSkopeo(Object.fromEntries(images), { login: owner });
  }, 60_000);
  afterAll(() => registry?.[Symbol.asyncDispose]());

  const reference = (name: string): string => registry.proxy.reference(name);

  /** What passed the proxy while `work` was done. */
  async function observe(work: () => Promise<unknown>): Promise<Exchange[]> {
    registry.proxy.forget();
    await work();
    return [...registry.proxy.exchanges];
  }

  /** Pulls with the command line, a process of its own each time; returns requests and serial round trips. */
  async function pulledBy(user: User, name: string, ...options: string[]): Promise<Cost> {
    let requests = 0;
    const exchanges = await observe(async () => {
      const { stdout, stderr } = await user.bpfcache(["pull", reference(name), "--json", ...platform, ...options]);
      if (stdout === "") throw new Error(stderr);
      requests = json(stdout).requests;
    });
    expect(requests, "what is said to have been requested").toBe(exchanges.length);
    return costOf(exchanges);
  }

  describe("costs a process that", () => {
    it("never heard of the registry 5 requests in 4 round trips, one more through an index", async () => {
      using user = new User();
      expect(await pulledBy(user, "org/app:single-1")).toEqual({ requests: 5, roundTrips: 4 });
      using another = new User();
      expect(await pulledBy(another, "org/app:index-1")).toEqual({ requests: 6, roundTrips: 5 });
    });

    it("finds the registry in its cache 4 requests in 3 round trips, one more through an index", async () => {
      using user = new User();
      await pulledBy(user, "org/app:single-1");
      expect(await pulledBy(user, "org/app:single-2")).toEqual({ requests: 4, roundTrips: 3 });
      expect(await pulledBy(user, "org/app:index-2")).toEqual({ requests: 5, roundTrips: 4 });
    });

    it("finds the image in its cache none, unless it must ask again: then a token and one request", async () => {
      using user = new User();
      await pulledBy(user, "org/app:index-1");
      expect(await pulledBy(user, "org/app:index-1")).toEqual({ requests: 0, roundTrips: 0 });
      const again = await pulledBy(user, "org/app:index-1", "--pull-policy", "Always");
      expect(again).toEqual({ requests: 2, roundTrips: 2 });
    });

    it("goes on with its token 3 requests in 2 round trips, one more through an index, 1 to ask again", async () => {
      await using cache = await openCache({ platform: "linux/amd64" });
      const pulled = async (name: string, options = {}): Promise<Cost> =>
        costOf(await observe(() => cache.pull(reference(name), options)));
      expect(await pulled("org/app:single-1")).toEqual({ requests: 5, roundTrips: 4 });
      expect(await pulled("org/app:single-2")).toEqual({ requests: 3, roundTrips: 2 });
      expect(await pulled("org/app:index-2")).toEqual({ requests: 4, roundTrips: 3 });
      const always = { pullPolicy: "Always" };
      expect(await pulled("org/app:single-2", always)).toEqual({ requests: 1, roundTrips: 1 });
      expect(await pulled("org/app:index-2", always)).toEqual({ requests: 1, roundTrips: 1 });
      expect(await pulled("org/app:index-2")).toEqual({ requests: 0, roundTrips: 0 });
      const { rootDigest } = cache.inspect(reference("org/app:index-2"));
      expect(await pulled(`org/app@${rootDigest}`, always)).toEqual({ requests: 0, roundTrips: 0 });
    });
  });

  describe("gives a private image", () => {
    const pull = (user: User, ...options: string[]) =>
      user.bpfcache(["pull", reference("private/app:v1"), "--json", ...platform, ...options]);

    it("to who logs in at its token service", async () => {
      using user = new User();
      const authFile = writeAuthFile(user.path("auth.json"), registry.proxy.host, owner);
      const { stdout } = await pull(user, "--authfile", authFile);
      expect(json(stdout)).toMatchObject({ from: "registry", requests: 5 });
    });

    it("not with a wrong password, and not without", async () => {
      using user = new User();
      const wrong = { ...owner, password: "wrong" };
      const authFile = writeAuthFile(user.path("auth.json"), registry.proxy.host, wrong);
      expect(lastLine((await pull(user, "--authfile", authFile)).stderr).error?.code).toBe("UNAUTHORIZED");
      expect(lastLine((await pull(user)).stderr).error?.code).toBe("UNAUTHORIZED");
    });
  });

  const missingClient = missing ?? requireTools("oras", "crane");
  describe.skipIf(missingClient)(`asked by other clients${missingClient ?? ""}`, () => {
    let scratch: string;
    beforeAll(() => {
      scratch = mkdtempSync(join(tmpdir(), "bpfcache-economy-"));
    });

    /** Each pulls into a directory; again into the same one it finds there what it has. */
    const others: Record<string, (from: string, into: string) => [string, ...string[]]> = {
      "oras cp": (from, into) => ["oras", "cp", "--from-plain-http", "--to-oci-layout", ...platform, from, `${into}:v1`],
      "skopeo copy": (from, into) => {
        const override = ["--override-os=linux", "--override-arch=amd64"];
        return ["skopeo", ...override, "copy", "--src-tls-verify=false", `docker://${from}`, `oci:${into}:v1`];
      },
      "crane pull": (from, into) => {
        const cached = ["--format=oci", `--cache_path=${into}-blobs`];
        return ["crane", "pull", "--insecure", ...platform, ...cached, from, into];
      },
    };

    /** The rows of the table: each client's requests for a first pull, through an index, and again. */
    async function measure(pull: (name: string) => Promise<Cost>): Promise<Cost[]> {
      const costs: Cost[] = [];
      for (const name of ["org/app:single-3", "org/app:index-3", "org/app:index-3"]) costs.push(await pull(name));
      return costs;
    }

    it("is asked no less by any than by us: cold, through an index, and for what is there already", async () => {
      const environment = { ...process.env, HOME: scratch, XDG_RUNTIME_DIR: scratch };
      const rows: Record<string, Cost[]> = {};
      using first = new User();
      using second = new User();
      rows["bpfcache"] = await measure((name) =>
        pulledBy(name.includes("single") ? first : second, name, "--pull-policy", "Always"),
      );
      for (const [client, command] of Object.entries(others)) {
        rows[client] = await measure(async (name) => {
          const into = join(scratch, `${client.replace(" ", "-")}-${name.replace(/.*:/, "")}`);
          const [program, ...args] = command(reference(name), into);
          return costOf(await observe(() => execute(program, args, { env: environment })));
        });
      }
      rows["bpfcache, registry known"] = await knownRegistry();
      rows["bpfcache, one process"] = await oneProcess();

      const file = join(scratch, "requests.md");
      writeFileSync(file, tableOf(rows));
      console.log(`${tableOf(rows)}\nThis table is in ${file}.`);
      const ours = rows["bpfcache"] ?? [];
      for (const client of Object.keys(others)) {
        for (const [column, cost] of (rows[client] ?? []).entries()) {
          const { requests = Number.NaN, roundTrips = Number.NaN } = ours[column] ?? {};
          expect(requests, `requests of ${client}, column ${column}`).toBeLessThanOrEqual(cost.requests);
          expect(roundTrips, `round trips of ${client}, column ${column}`).toBeLessThanOrEqual(cost.roundTrips);
        }
      }
    }, 60_000);

    /** A process of its own each time, that finds in its cache how the registry authenticates. */
    async function knownRegistry(): Promise<Cost[]> {
      using user = new User();
      await pulledBy(user, "org/app:single-1");
      return await measure((name) => pulledBy(user, name, "--pull-policy", "Always"));
    }

    async function oneProcess(): Promise<Cost[]> {
      await using cache = await openCache({ platform: "linux/amd64", pullPolicy: "Always" });
      await cache.pull(reference("org/app:single-1"));
      return await measure(async (name) => costOf(await observe(() => cache.pull(reference(name)))));
    }
  });
});

interface Cost {
  readonly requests: number;
  readonly roundTrips: number;
}

function costOf(exchanges: readonly Exchange[]): Cost {
  return { requests: exchanges.length, roundTrips: serialRoundTrips(exchanges) };
}

function tableOf(rows: Readonly<Record<string, readonly Cost[]>>): string {
  const cells = Object.entries(rows).map(([client, costs]) => [
    client,
    ...costs.map(({ requests, roundTrips }) => `${requests} (${roundTrips})`),
  ]);
  const head = ["requests (serial round trips)", "cold single", "cold index", "warm revalidate"];
  const lines = [head, ["---", "--:", "--:", "--:"], ...cells].map((line) => `| ${line.join(" | ")} |`);
  return `${lines.join("\n")}\n`;
}
