import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explain } from "../../src/cli/explain.js";
import { explainAbsence, explainRead } from "../../src/cli/explain-read.js";
import { digestOf } from "../../src/core/digest.js";
import type { CacheEvent, CacheEventBody } from "../../src/core/events.js";
import { bytecodeImage } from "../support/image-builder.js";
import {
  cosignDocument,
  cosignLayer,
  cosignTag,
  policyOf,
  type SigningKey,
  signingKey,
} from "../support/signing.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];
const reference = "registry.example/org/xdp:v1";
const digest = digestOf(Buffer.from("it"));

function at(...bodies: CacheEventBody[]): CacheEvent[] {
  return bodies.map((body) => ({ v: 1, time: "2026-01-01T00:00:00.000Z", ...body }));
}

describe("an explanation", () => {
  const verified = { event: "verified", reference, digest, bytes: 10 } as const;
  const request = {
    event: "request",
    reference,
    method: "GET",
    url: "https://registry.example/v2/org/xdp/manifests/v1",
    bytes: 5,
    milliseconds: 1,
  } as const;

  it("of a hit says that nobody was asked", () => {
    const told = explain(at({ event: "hit", reference, digest, reason: "fresh" }, verified));
    expect(told).toMatchObject({ outcome: "hit", reason: "fresh", asked: [], fetched: [] });
    expect(told.sentences).toEqual([
      "A hit: it is here, and IfNotPresent does not ask for what is.",
      "Nobody was asked for anything.",
      "No trust policy is in force: nobody was asked whether it may be used.",
      `Hashed 1 object, 10 B, and found what is promised: ${digest}.`,
    ]);
  });

  it("of a confirmed image says when it was checked before, and what the registry answered", () => {
    const checkedAt = "2025-12-31T00:00:00.000Z";
    const told = explain(
      at(
        { event: "miss", reference, reason: "stale", checkedAt },
        { ...request, role: "registry", status: 304, bytes: 0 },
        { event: "resolved", reference, digest, unchanged: true, bytes: 0 },
        verified,
      ),
    );
    expect(told).toMatchObject({ outcome: "unchanged", reason: "stale" });
    expect(told.sentences.slice(0, 3)).toEqual([
      `It is here, and was checked longer ago than --max-age allows. It was last checked at ${checkedAt}.`,
      "Asked the registry registry.example: 1 request (304), 0 B.",
      `It still means ${digest}.`,
    ]);
  });

  it("adds up what each host was asked, in the order it was", () => {
    const told = explain(
      at(
        { ...request, role: "mirror", url: "https://mirror.example/v2/", status: 0 },
        { ...request, role: "registry", status: 401 },
        { ...request, role: "token", url: "https://login.example/token", status: 200 },
        { ...request, role: "registry", status: 200 },
      ),
    );
    expect(told.outcome).toBe("failed");
    expect(told.asked).toEqual([
      { host: "mirror.example", role: "mirror", statuses: [0], bytes: 5 },
      { host: "registry.example", role: "registry", statuses: [401, 200], bytes: 10 },
      { host: "login.example", role: "token", statuses: [200], bytes: 5 },
    ]);
    expect(told.sentences).toContain("Asked the mirror mirror.example: 1 request (no answer), 5 B.");
  });

  it("tells a mirror that is passed over from a second try", () => {
    const retry = {
      event: "retry",
      reference,
      url: "mirror.example",
      attempt: 1,
      reason: "HTTP 503",
    } as const;
    const { sentences } = explain(
      at({ ...retry, delayMs: 0, code: "UNREACHABLE" }, { ...retry, delayMs: 250 }),
    );
    expect(sentences).toContain("Passed over mirror.example: HTTP 503.");
    expect(sentences).toContain("Asked mirror.example again after 250 ms: HTTP 503.");
  });

  it("tells what was here from what another download brought", () => {
    const reused = { event: "reused", reference, digest, bytes: 1024 } as const;
    const { sentences } = explain(
      at(
        { ...reused, kind: "manifest", from: "cache" },
        { ...reused, kind: "layer", from: "cache" },
        { ...reused, kind: "layer", from: "cache" },
        { ...reused, kind: "config", from: "download" },
      ),
    );
    expect(sentences).toContain("Reused 1 manifest, 2 layers that were here: 3.0 KiB.");
    expect(sentences).toContain("Reused 1 config that another image's download brought: 1.0 KiB.");
  });
});

describe("the explanation of a read", () => {
  const description = {
    reference,
    digest,
    rootDigest: digest,
    manifestDigest: digest,
    layerDigest: digest,
    platform: "linux/amd64",
    name: "xdp.o",
    size: 10,
    programs: [],
  };
  const facts = {
    reference,
    description,
    origin: undefined,
    objects: 3,
    object: undefined,
    program: undefined,
    trust: null,
  };

  it("says how the object was chosen", () => {
    const said = (more: object): readonly string[] =>
      explainRead({ ...facts, globals: [], ...more }).sentences;
    expect(said({ objects: 1 })).toContain("Its one object is xdp.o.");
    expect(said({})).toContain("Of its 3 objects xdp.o is the one for linux/amd64.");
    expect(said({ program: "pass" })).toContain("Of its 3 objects --program chose xdp.o.");
  });

  it("says what was set in the copy", () => {
    expect(explainRead({ ...facts, globals: ["limit=7"] }).sentences).toContain(
      "Set in the copy that was handed out: limit=7.",
    );
  });

  it("of what is not here names the platforms and tags that are", () => {
    const cached = [
      { reference, platform: "linux/arm64" },
      { reference: "registry.example/org/xdp:v2", platform: "linux/amd64" },
      { reference: "registry.example/org/other:v1", platform: "linux/amd64" },
    ];
    expect(explainAbsence(reference, "linux/amd64", cached)).toEqual([
      `A miss: nothing is here under ${reference} for linux/amd64, and cat asks nobody.`,
      "It is here for linux/arm64.",
      "Of its repository there is registry.example/org/xdp:v2.",
    ]);
  });
});

describe("--explain", () => {
  let registry: TestRegistry;
  let image: string;
  beforeAll(async () => {
    registry = await startTestRegistry({ auth: { type: "bearer" } });
    registry.add("org/xdp:v1", sampleImage());
    registry.add("org/xdp:copy", sampleImage());
    image = registry.reference("org/xdp:v1");
  });
  afterAll(() => registry.close());

  it("on a first pull tells of the challenge, the token and what was fetched, on stderr alone", async () => {
    using user = new User();
    const { stdout, stderr } = await user.bpfcache(["pull", image, "--explain", ...amd64]);
    expect(stdout).not.toContain("A miss");
    expect(stderr).toContain(`${image}\n  A miss: it was not here.\n`);
    expect(stderr).toMatch(/Asked the registry 127\.0\.0\.1:\d+: 5 requests \(401, 200, 200, 200, 200\), /);
    expect(stderr).toMatch(/Asked the token service 127\.0\.0\.1:\d+: 1 request \(200\), /);
    expect(stderr).toMatch(/Fetched 3 parts, .*; size and digest of each were checked as it came\./);
    expect(stderr).toContain("All of it became readable at once");
  });

  it("with --json is in the document", async () => {
    using user = new User();
    await user.bpfcache(["pull", image, ...amd64]);
    const { stdout, stderr } = await user.bpfcache(["pull", image, "--explain", "--json", ...amd64]);
    expect(json(stdout)).toMatchObject({
      reference: image,
      explain: {
        outcome: "hit",
        reason: "fresh",
        asked: [],
        fetched: [],
        verified: [{ bytes: expect.any(Number) }],
      },
    });
    expect(stderr).toBe("");
  });

  it("of another tag of the same image says that only the name is new", async () => {
    using user = new User();
    await user.bpfcache(["pull", image, ...amd64]);
    const copy = registry.reference("org/xdp:copy");
    const { stdout } = await user.bpfcache(["pull", copy, "--explain", "--json", ...amd64]);
    const { explain: told } = json(stdout);
    expect(told).toMatchObject({ outcome: "relinked", reason: "absent", fetched: [] });
    expect(told.reused.map(({ kind }: { kind: string }) => kind)).toEqual(["manifest", "image"]);
  });

  it("of a moved tag says that it was asked because of the policy, and what came", async () => {
    using user = new User();
    const moving = registry.reference("org/moving:v1");
    registry.add("org/moving:v1", sampleImage("before"));
    await user.bpfcache(["pull", moving, ...amd64]);
    registry.add("org/moving:v1", sampleImage("after"));
    const { stdout } = await user.bpfcache([
      "pull",
      moving,
      "--pull-policy",
      "Always",
      "--explain",
      "--json",
      ...amd64,
    ]);
    expect(json(stdout).explain).toMatchObject({ outcome: "fetched", reason: "policy" });
  });

  it("of a failure comes before the error", async () => {
    using user = new User();
    const none = registry.reference("org/none:v1");
    const { status, stderr } = await user.bpfcache(["pull", none, "--explain", ...amd64]);
    expect(status).toBe(3);
    expect(stderr).toMatch(/A miss: it was not here\.\n(.*\n)+ {2}It failed; .*\nbpfcache: /);
  });

  it("of a dead mirror says that it was passed over", async () => {
    using user = new User();
    const hosts = user.path("hosts");
    const directory = join(hosts, registry.reference("").replace("/", ""));
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, "hosts.toml"),
      '[host."http://127.0.0.1:9"]\ncapabilities = ["pull", "resolve"]\n',
    );
    const { stderr } = await user.bpfcache(["pull", image, "--explain", "--hosts-dir", hosts, ...amd64]);
    expect(stderr).toMatch(/Asked the mirror 127\.0\.0\.1:9: \d+ requests? \(no answer/);
    expect(stderr).toContain("Passed over 127.0.0.1:9: ");
    expect(stderr).toContain("All of it became readable at once");
  });

  it("of many is told one after the other", async () => {
    using user = new User();
    const copy = registry.reference("org/xdp:copy");
    const { stdout } = await user.bpfcache(["prefetch", image, copy, "--explain", "--json", ...amd64]);
    expect(Object.keys(json(stdout).explain).sort()).toEqual([copy, image].sort());
  });

  describe("under a trust policy", () => {
    const key = signingKey();
    const stranger = signingKey();
    const signedImage = bytecodeImage();

    beforeAll(() => {
      registry.add("org/prog:signed", signedImage);
      registry.add(cosignTag(signedImage.root), cosignDocument([cosignLayer(signedImage.root.digest, key)]));
    });

    function policyFile(user: User, keys: readonly SigningKey[]): string {
      const file = user.path("policy.toml");
      writeFileSync(file, policyOf(registry.host, keys));
      return file;
    }

    it("says which one was asked, and that it accepts the image because of whose signature", async () => {
      using user = new User();
      const signedReference = registry.reference("org/prog:signed");
      const policy = policyFile(user, [key]);
      const words = ["pull", signedReference, "--policy", policy, "--explain", ...amd64];
      const { stderr } = await user.bpfcache(words);
      const sentence = `The trust policy ${policy} \\([0-9a-f]{12}\\) accepts it by its rule for ${registry.host}: it is signed by `;
      expect(stderr).toMatch(new RegExp(sentence));
      // And so does a hit, by what was decided then.
      const { stdout } = await user.bpfcache([...words, "--json"]);
      const { trust, explain: hit } = json(stdout);
      expect(hit).toMatchObject({ outcome: "hit", trust: { ...trust, policyFile: policy } });
      expect(hit.trust).toMatchObject({ decision: "accept", rule: registry.host });
      expect(stderr).toContain(`That was decided at ${hit.trust.decidedAt}.`);
      const file = user.path("prog.o");
      const cat = ["cat", signedReference, "--policy", policy, "-o", file, "--explain", "--json", ...amd64];
      expect(json((await user.bpfcache(cat)).stdout).explain.trust).toEqual(hit.trust);
    });

    it("says which one refused it, and why", async () => {
      using user = new User();
      const signedReference = registry.reference("org/prog:signed");
      await user.bpfcache(["pull", signedReference, ...amd64]);
      const policy = policyFile(user, [stranger]);
      const refused = new RegExp(
        `The trust policy ${policy} \\([0-9a-f]{12}\\) refuses it by its rule for ${registry.host}: its signature does not count: none of the rule's keys made it\\.`,
      );
      const pull = await user.bpfcache(["pull", signedReference, "--policy", policy, "--explain", ...amd64]);
      expect(pull.status).toBe(8);
      expect(pull.stderr).toMatch(refused);
      expect(pull.stderr).toContain("It failed; the cache is as it was before.");
      const cat = `bpfcache cat ${signedReference} --policy ${policy} --explain ${amd64.join(" ")} > /dev/null`;
      const { status, stderr } = await user.shell(cat);
      expect(status).toBe(8);
      expect(stderr).toContain(`It is here for linux/amd64, and means ${signedImage.root.digest}.`);
      expect(stderr).toMatch(
        /The trust policy \S+ \([0-9a-f]{12}\) refuses it by its rule for \S+: it is not signed\./,
      );
    });

    it("says so when there was nothing to ask it of", async () => {
      using user = new User();
      const policy = policyFile(user, [key]);
      const none = registry.reference("org/none:v1");
      const { stderr } = await user.bpfcache(["pull", none, "--policy", policy, "--explain", ...amd64]);
      expect(stderr).toContain(
        `The trust policy ${policy} was not asked: nothing came that it could decide on.`,
      );
    });
  });

  it("of cat says what was read, and of what is not here what is", async () => {
    using user = new User();
    await user.bpfcache(["pull", image, ...amd64]);
    const read = await user.shell(`bpfcache cat ${image} --explain ${amd64.join(" ")} > /dev/null`);
    expect(read.stderr).toMatch(/A hit: the name is here for linux\/amd64, and means sha256:/);
    expect(read.stderr).toMatch(/It came from registry at \d{4}-/);
    const other = await user.shell(`bpfcache cat ${image} --explain --platform linux/arm64 > /dev/null`);
    expect(other.status).toBe(4);
    expect(other.stderr).toContain("It is here for linux/amd64.");
  });

  it("of cat with --json is in the document", async () => {
    using user = new User();
    await user.bpfcache(["pull", image, ...amd64]);
    const file = user.path("xdp.o");
    const { stdout } = await user.bpfcache(["cat", image, "-o", file, "--explain", "--json", ...amd64]);
    expect(json(stdout).explain).toMatchObject({ outcome: "hit", reason: "name" });
  });
});
