import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attached, keepStatements } from "../bundle/statements.js";
import { run } from "../reliability/processes.js";
import { ServedCache } from "../serve/served-cache.js";
import { bytecodeImage, imageIndex } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";

// The conformance programme of the OCI distribution specification itself, told that this registry is only read. It
// leaves out blobs that are missing and ranges then; those are asked for in test/serve/.

const missing = requireTools("conformance");
const repository = "registry.example/org/conforming";
const image = bytecodeImage();
const index = imageIndex([{ image }, { image: bytecodeImage({ platform: "linux/arm64" }) }]);
const bundle = attached("application/vnd.dev.sigstore.bundle.v0.3+json", image.root, "a bundle");

describe.skipIf(missing)(`the conformance programme${missing ?? ""}`, { timeout: 120_000 }, () => {
  let served: ServedCache;

  beforeAll(async () => {
    served = await ServedCache.start({ [`${repository}:v1`]: image, [`${repository}:v2`]: index });
    keepStatements(served.directory.join("cache"), [bundle]);
  });

  afterAll(() => served.close());

  it.each(["1.1", "dev"])("finds no fault by version %s of the specification", async (version) => {
    const { stdout, stderr } = await run("conformance", [], {
      cwd: served.directory.path,
      env: {
        PATH: process.env["PATH"],
        OCI_VERSION: version,
        OCI_REGISTRY: served.server.address,
        OCI_TLS: "disabled",
        OCI_REPO1: repository,
        OCI_API_PUSH: "false",
        OCI_API_BLOBS_DELETE: "false",
        OCI_API_MANIFESTS_DELETE: "false",
        OCI_API_TAGS_DELETE: "false",
        // Of content that it has not pushed itself, it looks for this header in an answer that it has not kept.
        OCI_API_MANIFESTS_DIGEST_HEADER: "false",
        OCI_API_BLOBS_DIGEST_HEADER: "false",
        OCI_RO_DATA_TAGS: "v1 v2",
        OCI_RO_DATA_MANIFESTS: [...index.manifests.keys()].join(" "),
        OCI_RO_DATA_BLOBS: [...index.blobs.keys()].join(" "),
        OCI_RO_DATA_REFERRERS: image.root.digest,
      },
    });
    // Its status says nothing: having printed its report, it falls over the file for read-only results.
    const count = (result: string): number =>
      Number(new RegExp(`^ +${result}\\.+: +(\\d+)$`, "m").exec(stdout)?.[1]);
    expect(stdout, stderr).toMatch(/^OCI Conformance Result: Pass$/m);
    expect([count("FAIL"), count("Error")]).toEqual([0, 0]);
    expect(count("Pass")).toBeGreaterThan(20);
    for (const api of ["Blob get", "Blob head", "Manifest get by tag", "Tag listing", "Referrers"])
      expect(stdout).toMatch(new RegExp(`^ +${api}\\.+: +Pass$`, "m"));
  });
});
