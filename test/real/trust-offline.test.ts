import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { json, User } from "../cli/command.js";
import { type Ended, mainProgram, run } from "../reliability/processes.js";
import { writeLayout } from "../support/image-builder.js";
import {
  bundleDocument,
  cosignDocument,
  cosignLayer,
  cosignTag,
  policyOf,
  signingKey,
} from "../support/signing.js";
import { Sigstore } from "../support/sigstore.js";
import { because, requireTools } from "../support/tools.js";
import { imageNamed } from "./images.js";

// A closed host decides as an open one does: by a plain key and by a certificate, with what was carried in, and in a
// network namespace in which there is not even a loopback, where the kernel is asked which sockets were made.

const host = "registry.example";
const byKey = `${host}/by-key/prog:v1`;
const byName = `${host}/by-name/prog:v1`;
const unsigned = `${host}/by-key/unsigned:v1`;

interface Seeded {
  readonly images: readonly {
    readonly trust: { readonly decision: string; readonly signers: readonly string[] };
  }[];
  readonly failed: readonly unknown[];
}

const missing = requireTools("strace", "unshare") ?? because(process.getuid?.() !== 0, "needs root");

describe.skipIf(missing)(`trust without a network${missing ?? ""}`, { timeout: 120_000 }, () => {
  const key = signingKey();
  const sigstore = new Sigstore();
  const [keyed, named] = [imageNamed("by_key"), imageNamed("by_name")];
  let user: User;
  let policy: string;
  let trustedRoot: string;

  beforeAll(async () => {
    user = new User();
    const file = (name: string, content: string): string => {
      writeFileSync(user.path(name), content);
      return user.path(name);
    };
    const signer = `{ certificate_identity = "dev@example.com", certificate_oidc_issuer = "https://issuer.example" }`;
    const rule = `[[rule]]\nscope = "${host}/by-name"\nidentities = [${signer}]\n`;
    policy = file("policy.toml", `${policyOf(`${host}/by-key`, [key])}${rule}`);
    file("tighter.toml", `${policyOf(`${host}/by-key`, [key, signingKey()], 'require = "all"')}${rule}`);
    trustedRoot = file("trusted_root.json", JSON.stringify(sigstore.trustedRoot()));
    writeLayout(user.path("layout"), [
      { name: byKey, root: keyed },
      { name: unsigned, root: imageNamed("unsigned") },
      {
        name: `${host}/${cosignTag(keyed.root, "by-key/prog")}`,
        root: cosignDocument([cosignLayer(keyed.root.digest, key)]),
      },
      { name: byName, root: named },
      { root: bundleDocument([sigstore.bundle(named.root.digest)], named.root) },
    ]);
    // On a host with a network: taken in, and carried on as an export.
    await using open = await openCache({
      platform: "linux/amd64",
      trust: { policyFile: policy, trustedRoot },
    });
    const { images } = await open.seed([user.path("layout")]);
    expect(images.map(({ trust }) => trust?.decision)).toEqual(["accept", "accept"]);
    await open.export([byKey, byName], { output: user.path("site.tar") });
  });

  afterAll(() => user[Symbol.dispose]());

  /** Runs bpfcache under the policy in a namespace without a network, under strace. */
  async function closed(
    args: readonly string[],
    by = policy,
  ): Promise<Ended & { readonly sockets: string[] }> {
    const trace = user.path("trace");
    const trust = ["--policy", by, "--trusted-root", trustedRoot, "--platform", "linux/amd64"];
    const strace = ["--net", "strace", "-f", "-qq", "-e", "trace=network", "-o", trace];
    const ended = await run("unshare", [...strace, process.execPath, mainProgram, ...args, ...trust], {
      env: user.environment,
      cwd: user.path(""),
    });
    const calls = readFileSync(trace, "utf8").split("\n");
    const sockets = calls.filter((call) =>
      /AF_INET|AF_NETLINK|AF_PACKET|sin_addr|nscd|resolved?\b/.test(call),
    );
    return { ...ended, sockets };
  }

  it("what was exported is seeded with the same verdicts, and no socket is made", async () => {
    const { status, stdout, stderr, sockets } = await closed(["seed", "site.tar", "--json"]);
    expect(status, stderr).toBe(0);
    const { images } = json(stdout) as Seeded;
    expect(images.map(({ trust }) => trust.decision)).toEqual(["accept", "accept"]);
    expect(images.flatMap(({ trust }) => trust.signers)).toContain(
      "dev@example.com, issued by https://issuer.example",
    );
    expect(sockets).toEqual([]);
  });

  it.each([
    ["pull", "--offline", byKey],
    ["pull", "--offline", byName],
    ["pull", "--pull-policy", "Never", byName],
    ["cat", byKey, "-o", "/dev/null"],
    ["cat", byName, "-o", "/dev/null"],
    ["verify", "--offline", "--explain", byKey],
    ["verify", "--offline", "--explain", byName],
    ["verify", byName, "--json"],
    ["inspect", byName],
  ])("%s %s %s is as with a network, and no socket is made", async (...args) => {
    const { status, stderr, sockets } = await closed(args);
    expect(status, stderr).toBe(0);
    expect(sockets).toEqual([]);
  });

  it("an unsigned image is refused, and so is what a tighter policy asks more of", async () => {
    const seeded = await closed(["seed", "layout", "--json"]);
    expect(seeded.status).toBe(20);
    expect((json(seeded.stdout) as Seeded).failed).toMatchObject([
      { reference: unsigned, code: "UNTRUSTED" },
    ]);
    for (const args of [
      ["pull", "--offline", byKey],
      ["cat", byKey, "-o", "/dev/null"],
      ["verify", "--offline", byKey],
    ]) {
      const { status, stderr, sockets } = await closed(args, user.path("tighter.toml"));
      expect(status, stderr).toBe(8);
      expect(stderr).toContain("1 of the 2 signers");
      expect(sockets).toEqual([]);
    }
    expect((await closed(["cat", byKey, "-o", "/dev/null"])).status).toBe(0);
  });

  it("verify prints one document, also of what it refuses", async () => {
    const { status, stdout, stderr } = await closed(
      ["verify", "--offline", byKey, "--json"],
      user.path("tighter.toml"),
    );
    expect(status).toBe(8);
    expect(json(stdout)).toMatchObject({
      ...{ reference: byKey, rootDigest: keyed.root.digest, decision: "reject", isCached: true },
      signatures: [{ counts: true }],
    });
    expect(json(stderr)).toMatchObject({ error: { code: "UNTRUSTED", reference: byKey } });
  });

  it("a policy that cannot be read is USAGE, whatever is asked", async () => {
    for (const args of [
      ["cat", byKey, "-o", "/dev/null"],
      ["pull", "--offline", byKey],
      ["verify", byKey],
    ])
      expect(await closed(args, user.path("absent.toml"))).toMatchObject({ status: 2 });
  });
});
