import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verbs } from "../../src/cli/verbs.js";
import { countingObject } from "../programs/objects.js";
import { noKernel, uniqueName } from "../programs/support.js";
import { DockerRegistry } from "../real/docker-registry.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { json, lastLine, sampleImage, User } from "./command.js";

type Schema = { readonly $defs: Readonly<Record<string, object>> };

/** What `npm run build` puts into the package. */
const published = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../dist/bpfcache.schema.json", import.meta.url)), "utf8"),
) as Schema;

/** The same with no key allowed that it does not tell of: what is printed is documented, all of it. */
const closed = JSON.parse(JSON.stringify(published), (_, value) =>
  typeof value === "object" && value !== null && "properties" in value
    ? { ...value, additionalProperties: false }
    : value,
) as Schema;

const validators = new Map<string, ReturnType<Ajv2020["compile"]>>();

function faultsOf(name: string, document: unknown, schema: Schema = closed): unknown[] {
  const known = schema === closed ? validators.get(name) : undefined;
  // The formats of strings are annotations in JSON Schema; patterns stand beside those that count.
  const ajv = new Ajv2020({ strict: true, validateFormats: false, allErrors: true });
  const validate = known ?? ajv.compile({ ...schema, $ref: `#/$defs/${name}` });
  if (schema === closed) validators.set(name, validate);
  return validate(document) ? [] : (validate.errors ?? ["unknown"]);
}

describe("the published schema", () => {
  const amd64 = ["--platform", "linux/amd64"];
  let registry: TestRegistry;
  let user: User;
  let reference: string;

  beforeAll(async () => {
    registry = await startTestRegistry();
    registry.add("org/sample:v1", sampleImage());
    registry.add("org/other:v1", sampleImage("other"));
    reference = registry.reference("org/sample:v1");
    user = new User();
    await user.bpfcache(["prefetch", reference, registry.reference("org/other:v1"), ...amd64]);
  });

  afterAll(async () => {
    user[Symbol.dispose]();
    await registry.close();
  });

  it("has a document for every verb", () => {
    expect(
      verbs.map(({ name }) => name.replaceAll(" ", "-")).filter((name) => !(name in published.$defs)),
    ).toEqual([]);
  });

  it("is what help prints, whole or for one document", async () => {
    expect(json((await user.bpfcache(["help", "json-schema"])).stdout)).toEqual(published);
    const one = json((await user.bpfcache(["help", "json-schema", "list"])).stdout) as Schema;
    expect(Object.keys(one.$defs).sort()).toEqual(["image", "list"]);
    expect(faultsOf("list", { images: [] }, one)).toEqual([]);
  });

  it.each([
    ["list", { images: [{ reference: 7 }] }],
    ["pull", {}],
    ["usage", { bytes: -1 }],
    ["event", { v: 2, time: "2026-01-01T00:00:00.000Z", event: "hit" }],
    ["error", { error: { code: "NONE", message: "" } }],
  ])("refuses a %s that is not one", (name, document) => {
    expect(faultsOf(name, document, published)).not.toEqual([]);
  });

  const noPush = requireTools("oras", "docker-registry");
  /** The documents that something has been printed as. */
  const seen = new Set<string>();

  /** That it is one document, and the schema tells of all of it. */
  function expectDescribed(name: string, stdout: string, stderr = ""): ReturnType<typeof json> {
    expect(stdout, stderr).not.toBe("");
    const document = json(stdout);
    expect(faultsOf(name, document)).toEqual([]);
    seen.add(name);
    return document;
  }

  it.each([
    ["prefetch", ["prefetch", "REFERENCE", "127.0.0.1:1/org/none:v1", "--offline"]],
    ["pull", ["pull", "REFERENCE", "--pull-policy", "Always"]],
    ["seed", ["seed", "LAYOUT"]],
    ["export", ["export", "REFERENCE", "-o", "LAYOUT"]],
    ["list", ["list"]],
    ["inspect", ["inspect", "REFERENCE"]],
    ["cat", ["cat", "REFERENCE", "-o", "OBJECT"]],
    ["pin", ["pin", "REFERENCE"]],
    ["unpin", ["unpin", "REFERENCE"]],
    ["prune", ["prune", "--older-than", "0s", "--drop-layers", "--dry-run"]],
    ["usage", ["usage", "--max-size", "1G"]],
    ["metrics", ["usage", "--format", "prometheus"]],
    ["compact", ["compact"]],
    ["scrub", ["scrub"]],
    ["config", ["config", "show", "--jobs", "3"]],
    ["completion", ["completion", "fish"]],
    ["help", ["help", "exit-codes"]],
    ["remove", ["remove", "OTHER"]],
  ])("describes what %s prints, to the last key", async (name, args) => {
    const places: Readonly<Record<string, string>> = {
      REFERENCE: reference,
      OTHER: registry.reference("org/other:v1"),
      LAYOUT: user.path("layout"),
      OBJECT: user.path("object.o"),
    };
    if (name === "seed") await user.bpfcache(["export", reference, "-o", user.path("layout"), ...amd64]);
    const words = args.map((word) => places[word] ?? word);
    const extra = name === "export" ? ["--overwrite"] : [];
    const { stdout, stderr } = await user.bpfcache([...words, ...extra, "--json", ...amd64]);
    expectDescribed(name, stdout, stderr);
  });

  it("describes what serve prints", async () => {
    const file = user.path("serve.json");
    const { stdout } = await user.shell(
      `"$NODE" "$MAIN" serve --listen 127.0.0.1:0 --json > ${file} & ` +
        `until grep -q '^}' ${file}; do sleep 0.1; done; kill -TERM $!; wait $!; echo $?`,
    );
    expect(stdout).toBe("0\n");
    const document = expectDescribed("serve", readFileSync(file, "utf8"));
    expect(document).toMatchObject({ directory: user.cache, url: expect.stringMatching(/^http:/) });
  });

  it("describes what verify prints, of what is refused too", async () => {
    const policy = user.path("policy.toml");
    for (const [decision, status] of [
      ["accept", 0],
      ["reject", 8],
    ] as const) {
      writeFileSync(policy, `default = "${decision}"\n`);
      const words = ["verify", reference, "--policy", policy, "--json", ...amd64];
      const ended = await user.bpfcache(words);
      expect(ended.status).toBe(status);
      expect(expectDescribed("verify", ended.stdout)).toMatchObject({ reference, decision });
    }
  });

  it("describes what pull and cat explain of a trust policy", async () => {
    const policy = user.path("policy.toml");
    writeFileSync(policy, 'default = "accept"\n');
    const more = ["--policy", policy, "--explain", "--json", ...amd64];
    const pull = await user.bpfcache(["pull", reference, ...more]);
    expect(expectDescribed("pull", pull.stdout).explain.trust).toMatchObject({ policyFile: policy });
    const cat = await user.bpfcache(["cat", reference, "-o", user.path("explained.o"), ...more]);
    expect(expectDescribed("cat", cat.stdout).explain.trust).toMatchObject({ policyFile: policy });
  });

  it.skipIf(noPush)(`describes what push prints${noPush ?? ""}`, async () => {
    await using accepting = await DockerRegistry.start();
    const object = user.path("pushed.o");
    await user.bpfcache(["cat", reference, "-o", object, ...amd64]);
    const to = accepting.reference("org/pushed:v1");
    const { stdout, stderr } = await user.bpfcache(["push", to, object, "--json", ...amd64]);
    expect(expectDescribed("push", stdout, stderr)).toMatchObject({ reference: to });
  });

  it.skipIf(noPush)(`describes the error of a push that is refused${noPush ?? ""}`, async () => {
    const object = user.path("refused.o");
    await user.bpfcache(["cat", reference, "-o", object, ...amd64]);
    // The test registry takes nothing in.
    const to = registry.reference("org/refused:v1");
    const { status, stdout, stderr } = await user.bpfcache(["push", to, object, "--json", ...amd64]);
    expect({ status, stdout }).toEqual({ status: 14, stdout: "" });
    expect(faultsOf("error", lastLine(stderr))).toEqual([]);
    expect(lastLine(stderr)).toMatchObject({ error: { code: "TOOL_FAILED", reference: to } });
  });

  it.skipIf(noKernel)(
    `describes what the verbs of programs print${noKernel ?? ""}`,
    async () => {
      using other = new User();
      const name = uniqueName("schema");
      const file = other.path("program.o");
      writeFileSync(file, countingObject(name));
      const load = await other.bpfcache(["program", "load", "--file", file, "--via", "libbpf", "--json"]);
      const [{ id }] = expectDescribed("program-load", load.stdout, load.stderr).programs;
      for (const [verb, ...words] of [["list"], ["get", String(id)], ["unload", String(id)]]) {
        const { stdout, stderr } = await other.bpfcache(["program", verb ?? "", ...words, "--json"]);
        expect(JSON.stringify(expectDescribed(`program-${verb}`, stdout, stderr))).toContain(name);
      }
    },
    120_000,
  );

  it("has been seen printed by every verb that can run here", () => {
    const cannot = (name: string): boolean =>
      (name === "push" && noPush !== undefined) || (name.startsWith("program-") && noKernel !== undefined);
    const names = verbs.map(({ name }) => name.replaceAll(" ", "-")).filter((name) => !cannot(name));
    expect(names.filter((name) => !seen.has(name))).toEqual([]);
  });

  it("describes every event, to the last key", async () => {
    using other = new User();
    registry.break({ kind: "manifest", path: "org/sample", times: 1 }, { status: 503 });
    registry.break({ kind: "blob", path: "org/other", times: 1 }, { destroyAt: 10 });
    const words = [reference, registry.reference("org/other:v1"), registry.reference("org/absent:v1")];
    const events: unknown[] = [];
    const note = async (...args: string[]): Promise<void> => {
      const { stderr } = await other.bpfcache([...args, "--progress", "json", ...amd64]);
      events.push(
        ...stderr
          .split("\n")
          .filter((line) => line.startsWith('{"v"'))
          .map(json),
      );
    };
    await note("prefetch", ...words);
    await note("pull", reference);
    await note("export", reference, "-o", other.path("out"));
    await note("scrub");
    writeFileSync(other.path("policy.toml"), 'default = "warn"\n');
    await note("pull", reference, "--policy", other.path("policy.toml"));
    await note("pull", registry.reference("org/other:v1"), "--max-size", "2K", "--pull-policy", "Always");
    registry.repair();
    const faults = events.flatMap((event) => faultsOf("event", event));
    expect(faults).toEqual([]);
    const kinds = new Set(events.map((event) => (event as { event: string }).event));
    const common = ["batch", "resolving", "resolved", "fetching", "fetched", "published", "request", "retry"];
    for (const kind of [...common, "failed", "hit", "bundling", "exporting", "exported", "decided"])
      expect(kinds).toContain(kind);
  }, 90_000);

  it.each([[["nonsense"]], [["inspect", "registry.example/absent"]], [["pull", "UPPER"]]])(
    "describes the error of %j, to the last key",
    async (args) => {
      const { stderr } = await user.bpfcache([...args, "--json"]);
      expect(faultsOf("error", json(stderr))).toEqual([]);
    },
  );

  it("describes a damaged image's scrub", async () => {
    using other = new User();
    await other.bpfcache(["pull", reference, ...amd64]);
    const data = readFileSync(`${other.cache}/data.mdb`);
    const marker = Buffer.from('"io.ebpf.programs"');
    for (let at = data.indexOf(marker); at >= 0; at = data.indexOf(marker, at + 1)) data[at + 1] = 0x58;
    writeFileSync(`${other.cache}/data.mdb`, data);
    const { stdout } = await other.bpfcache(["scrub", "--json", "--offline"]);
    const report = json(stdout) as { damaged: unknown[] };
    expect(report.damaged.length).toBeGreaterThan(0);
    expect(faultsOf("scrub", report)).toEqual([]);
  });
});
