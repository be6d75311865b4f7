import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { json, User } from "../cli/command.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { execute, imageNamed, indexNamed, pushOverHttp, pushWithSkopeo } from "./images.js";
import { Oras } from "./producers-oras.js";
import { Zot } from "./zot.js";

// Signatures and SBOMs made by the tools that others make theirs with, kept with their images by the built command.

const spdxType = "application/spdx+json";

interface Referrer {
  readonly subject: string;
  readonly digest: string;
  readonly kind?: string;
  readonly artifactType: string;
  readonly tag?: string;
}

/** Signs with a key of its own, without a transparency log. */
class Cosign implements Disposable {
  readonly #directory = new TemporaryDirectory();

  static async withKey(): Promise<Cosign> {
    const cosign = new Cosign();
    await cosign.run("generate-key-pair");
    return cosign;
  }

  async run(...args: readonly string[]): Promise<void> {
    const home = this.#directory.path;
    // The referrers mode was experimental in cosign 2.
    const env = { PATH: process.env["PATH"], HOME: home, COSIGN_PASSWORD: "", COSIGN_EXPERIMENTAL: "1" };
    await execute("cosign", args, { cwd: home, env });
  }

  async sign(reference: string, ...args: readonly string[]): Promise<void> {
    await this.run("sign", "--yes", "--key", "cosign.key", "--tlog-upload=false", ...args, reference);
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

const missing = requireTools("docker-registry", "zot", "oras");

describe.skipIf(missing).each([
  { name: "docker-registry, which has no referrers API", start: () => DockerRegistry.start() },
  { name: "zot, which has it", start: () => Zot.start() },
])(`from $name${missing ?? ""}`, { timeout: 120_000 }, ({ start }) => {
  let registry: DockerRegistry | Zot;
  beforeAll(async () => {
    registry = await start();
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  /** Pulls with what refers to the image, and gives it to `look`; then removes the image, and nothing may be left. */
  async function pulled(reference: string, look: (referrers: readonly Referrer[], text: string) => void) {
    using user = new User();
    const platform = ["--platform", "linux/amd64"];
    const pull = await user.bpfcache(["pull", reference, "--referrers", "--json", ...platform]);
    expect([pull.status, pull.stderr]).toEqual([0, `cached ${reference}\n`]);
    const inspected = await user.bpfcache(["inspect", reference, "--json", ...platform]);
    const shown = await user.bpfcache(["inspect", reference, ...platform]);
    look(json(inspected.stdout).referrers, shown.stdout);
    expect(checkClosure(user.cache)).toEqual([]);
    const list = await user.bpfcache(["list", "--json"]);
    expect(json(list.stdout).images.map((image: { reference: string }) => image.reference)).toEqual([
      reference,
    ]);
    expect((await user.bpfcache(["remove", reference])).status).toBe(0);
    expect(checkClosure(user.cache)).toEqual([]);
  }

  it("what oras attaches is kept: an SBOM, its signature, and what is attached to one platform", async () => {
    using oras = new Oras();
    const index = indexNamed("attached");
    const reference = registry.reference("org/attached:v1");
    await pushWithSkopeo({ [reference]: index });
    const attach = async (subject: string, type: string, file: string): Promise<string> => {
      const args = ["--artifact-type", type, "--format", "json", subject, `${file}:${type}`];
      return JSON.parse(await oras.run("attach", args, { [file]: `{"about":"${file}"}` })).digest;
    };
    const name = registry.reference("org/attached");
    const sbom = await attach(reference, spdxType, "sbom.json");
    const notation = await attach(
      `${name}@${sbom}`,
      "application/vnd.cncf.notary.signature",
      "signature.json",
    );
    const manifest = index.children[0]?.root.digest ?? "";
    const bundle = await attach(
      `${name}@${manifest}`,
      "application/vnd.dev.sigstore.bundle.v0.3+json",
      "bundle.json",
    );
    await pulled(reference, (referrers, text) => {
      expect(referrers.map(({ subject, digest, kind }) => [subject, digest, kind])).toEqual([
        [index.root.digest, sbom, "SPDX SBOM"],
        [sbom, notation, "notation signature"],
        [manifest, bundle, "sigstore bundle"],
      ]);
      expect(text).toContain(`referrer         ${sbom}  SPDX SBOM, ${spdxType}\n│  └─ referrer  ${notation}`);
    });
  });

  const missingCosign = requireTools("cosign");
  describe.skipIf(missingCosign)(`by cosign${missingCosign ?? ""}`, () => {
    let cosign: Cosign;
    beforeAll(async () => {
      cosign = await Cosign.withKey();
    });
    afterAll(() => cosign?.[Symbol.dispose]());

    async function pushed(program: string) {
      const image = imageNamed(program);
      await pushOverHttp(registry.host, `org/${program}`, "v1", image);
      const { digest } = image.root;
      const reference = registry.reference(`org/${program}`);
      return {
        digest,
        tag: digest.replace(":", "-"),
        tagged: `${reference}:v1`,
        byDigest: `${reference}@${digest}`,
      };
    }

    it("a signature under its tag is kept", async () => {
      const { tag, tagged, byDigest } = await pushed("by_tag");
      await cosign.sign(byDigest);
      await pulled(tagged, (referrers, text) => {
        expect(referrers).toMatchObject([{ kind: "cosign signature", tag: `${tag}.sig` }]);
        expect(text).toContain(
          `cosign signature, application/vnd.oci.image.config.v1+json, tag ${tag}.sig\n`,
        );
      });
    });

    it("a signature as a referrer is kept", async () => {
      const { tagged, byDigest } = await pushed("as_referrer");
      await cosign.sign(byDigest, "--registry-referrers-mode=oci-1-1");
      await pulled(tagged, (referrers) => {
        expect(referrers).toMatchObject([
          { kind: "cosign signature", artifactType: "application/vnd.dev.cosign.artifact.sig.v1+json" },
        ]);
        expect(referrers[0]).not.toHaveProperty("tag");
      });
    });

    it("a signature, an attestation and an SBOM are kept together", async () => {
      const { tag, tagged, byDigest } = await pushed("together");
      await cosign.sign(byDigest);
      const files = ["--predicate", "cosign.pub.json", "--type", "custom"];
      await cosign.run("public-key", "--key", "cosign.key", "--outfile", "cosign.pub.json");
      await cosign.run("attest", "--yes", "--key", "cosign.key", "--tlog-upload=false", ...files, byDigest);
      await cosign.run("attach", "sbom", "--sbom", "cosign.pub.json", "--type", "spdx", byDigest);
      await pulled(tagged, (referrers) => {
        expect(referrers.map(({ kind, tag: under }) => [kind, under])).toEqual(
          expect.arrayContaining([
            ["cosign signature", `${tag}.sig`],
            ["in-toto attestation", `${tag}.att`],
            ["SPDX SBOM", `${tag}.sbom`],
          ]),
        );
        expect(referrers).toHaveLength(3);
      });
    });
  });
});
