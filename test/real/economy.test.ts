import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { json, lastLine, User } from "../cli/command.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { requireTools } from "../support/tools.js";
import { execute, imageNamed, indexNamed, pushWithSkopeo, writeAuthFile } from "./images.js";
import { type Exchange, serialRoundTrips } from "./reverse-proxy.js";
import { owner, TokenRegistry } from "./token-registry.js";

// What pulls cost at a registry with tokens: requests counted, and round trips measured, by a proxy in front of both
// the registry and its token service.

/** Long enough that requests sent together overlap at the proxy on a busy machine too. */
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
    const images = [...singles, ...indexes, hidden];
    await pushWithSkopeo(
      Object.fromEntries(images.map(([name, image]) => [registry.registry.reference(name), image])),
      { login: owner },
    );
  });
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
      const { stdout, stderr } = await user.bpfcache([
        "pull",
        reference(name),
        "--json",
        ...platform,
        ...options,
      ]);
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
    /** Each pulls into a directory; again into the same one it finds there what it has. */
    const others: Record<string, (from: string, into: string) => [string, ...string[]]> = {
      "oras cp": (from, into) => {
        // With a platform, oras reads the config of a single image before the rest.
        const chosen = from.includes("index") ? platform : [];
        return ["oras", "cp", "--from-plain-http", "--to-oci-layout", ...chosen, from, `${into}:v1`];
      },
      "skopeo copy": (from, into) => {
        const override = ["--override-os=linux", "--override-arch=amd64"];
        return [
          "skopeo",
          ...override,
          "copy",
          "--src-tls-verify=false",
          `docker://${from}`,
          `oci:${into}:v1`,
        ];
      },
      "crane pull": (from, into) => {
        const cached = ["--format=oci", `--cache_path=${into}-blobs`];
        return ["crane", "pull", "--insecure", ...platform, ...cached, from, into];
      },
    };

    it("is asked no less by any than by us: cold, through an index, and for what is there already", async () => {
      const ours = await newProcesses();
      const rows: Record<string, Cost[]> = {
        bpfcache: ours,
        "bpfcache, registry known": await knownRegistry(),
        "bpfcache, one process": await oneProcess(),
      };
      for (const client of Object.keys(others)) rows[client] = await otherClient(client);

      const file = join(mkdtempSync(join(tmpdir(), "bpfcache-economy-")), "requests.md");
      writeFileSync(file, tableOf(rows));
      console.log(`${tableOf(rows)}\nThis table is in ${file}.`);
      for (const client of Object.keys(others)) {
        for (const [column, { requests, roundTrips }] of ours.entries()) {
          const theirs = rows[client]?.[column];
          const where = `${client}, ${columns[column]}`;
          expect(requests, `requests of ${where}`).toBeLessThanOrEqual(theirs?.requests ?? Number.NaN);
          expect(roundTrips, `round trips of ${where}`).toBeLessThanOrEqual(theirs?.roundTrips ?? Number.NaN);
        }
      }
    }, 60_000);

    /** A row of the table: what a first pull costs, one through an index, and the same again. */
    async function measure(pull: (name: string) => Promise<Cost>): Promise<Cost[]> {
      const costs: Cost[] = [];
      for (const name of ["org/app:single-3", "org/app:index-3", "org/app:index-3"])
        costs.push(await pull(name));
      return costs;
    }

    async function newProcesses(): Promise<Cost[]> {
      using first = new User();
      using second = new User();
      return await measure((name) =>
        pulledBy(name.includes("single") ? first : second, name, "--pull-policy", "Always"),
      );
    }

    async function otherClient(client: string): Promise<Cost[]> {
      using home = new TemporaryDirectory();
      const env = { ...process.env, HOME: home.path, XDG_RUNTIME_DIR: home.path };
      return await measure(async (name) => {
        const into = home.join(name.replace(/.*:/, ""));
        const [program, ...args] = others[client]?.(reference(name), into) ?? [""];
        return costOf(await observe(() => execute(program, args, { env })));
      });
    }

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

const columns = ["cold single", "cold index", "warm revalidate"];

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
  const head = ["requests (serial round trips)", ...columns];
  const lines = [head, ["---", "--:", "--:", "--:"], ...cells].map((line) => `| ${line.join(" | ")} |`);
  return `${lines.join("\n")}\n`;
}
