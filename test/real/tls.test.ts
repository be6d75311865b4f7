import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { json, lastLine, User } from "../cli/command.js";
import { mainProgram, run } from "../reliability/processes.js";
import { makeCertificates, type TestCertificates } from "../source/registry/certificates.js";
import { requireTools } from "../support/tools.js";
import { writeCertsD } from "./certs-d.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushWithSkopeo } from "./images.js";
import { requireMountNamespaces, withHosts } from "./named-hosts.js";

/** In the servers' certificate, and led to this machine where a test says so. */
const name = "registry.example";

const missing = requireTools("docker-registry", "skopeo", "openssl");
describe.skipIf(missing)(`Debian's docker-registry with TLS by a private authority${missing ?? ""}`, () => {
  const image = imageNamed("pass");
  let certificates: TestCertificates;
  let registry: DockerRegistry;
  let pickyRegistry: DockerRegistry;
  /** In each of them, under the same name. */
  const nameOfImage = "org/pass:v1";

  beforeAll(async () => {
    certificates = makeCertificates();
    const { ca, cert, key } = certificates;
    registry = await DockerRegistry.start({ tls: { cert, key } });
    pickyRegistry = await DockerRegistry.start({ tls: { cert, key, clientAuthority: ca } });
    using pusher = new User();
    const directory = writeCertsD(pusher.path("certificates"), certificates, "authority", "client");
    const references = [registry, pickyRegistry].map((one) => one.reference(nameOfImage));
    await pushWithSkopeo(Object.fromEntries(references.map((reference) => [reference, image])), {
      certificates: directory,
    });
  });
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await pickyRegistry?.[Symbol.asyncDispose]();
    certificates?.remove();
  });

  /** Where Podman keeps a user's own certificates for a registry. */
  function certificatesOf(user: User, host: string): string {
    return join(user.path(".config"), "containers", "certs.d", host);
  }

  function pull(user: User, from: DockerRegistry, ...options: string[]) {
    return user.bpfcache(["pull", from.reference(nameOfImage), "--json", ...options]);
  }

  describe("is pulled from", () => {
    const pulled = { from: "registry", rootDigest: image.root.digest };

    it("with the authority's certificate named", async () => {
      using user = new User();
      expect(json((await pull(user, registry, "--ca-file", certificates.caFile)).stdout)).toMatchObject(
        pulled,
      );
    });

    it("by a program that names the authority's certificate", async () => {
      await using cache = await openCache({ caFile: certificates.caFile });
      expect(await cache.pull(registry.reference(nameOfImage))).toMatchObject(pulled);
    });

    it("with the authority's certificate in certs.d", async () => {
      using user = new User();
      writeCertsD(certificatesOf(user, registry.host), certificates, "authority");
      expect(json((await pull(user, registry)).stdout)).toMatchObject(pulled);
    });

    it("with a client's certificate in certs.d, if it asks for one", async () => {
      using user = new User();
      writeCertsD(certificatesOf(user, pickyRegistry.host), certificates, "authority", "client");
      expect(json((await pull(user, pickyRegistry)).stdout)).toMatchObject(pulled);
    });
  });

  describe("is UNREACHABLE", () => {
    it("without the authority's certificate, and the hint is --ca-file", async () => {
      using user = new User();
      const { status, stderr } = await pull(user, registry);
      expect(status).toBe(6);
      expect(lastLine(stderr).error).toMatchObject({
        code: "UNREACHABLE",
        message: expect.stringContaining("unknown authority"),
        hint: expect.stringContaining("--ca-file"),
      });
    });

    it("when another authority is the one to trust", async () => {
      const others = makeCertificates();
      using user = new User();
      const { stderr } = await pull(user, registry, "--ca-file", others.caFile);
      others.remove();
      expect(lastLine(stderr).error).toMatchObject({
        code: "UNREACHABLE",
        message: expect.stringContaining("unknown authority"),
      });
    });

    it("without a client's certificate if it asks for one, and the hint is certs.d", async () => {
      using user = new User();
      const { status, stderr } = await pull(user, pickyRegistry, "--ca-file", certificates.caFile);
      expect(status).toBe(6);
      expect(lastLine(stderr).error).toMatchObject(certificateWanted);
    });

    const missingHosts = missing ?? requireTools("unshare") ?? requireMountNamespaces();
    it.skipIf(missingHosts)(
      `just so under a name that is not this machine's${missingHosts ?? ""}`,
      async () => {
        using user = new User();
        const reference = pickyRegistry.reference(nameOfImage).replace("127.0.0.1", name);
        const words = [mainProgram, "pull", reference, "--json", "--ca-file", certificates.caFile];
        const [command, ...args] = withHosts(user.path("hosts"), [name], [process.execPath, ...words]);
        const { status, stderr } = await run(command, args, { env: user.environment });
        expect(status).toBe(6);
        expect(lastLine(stderr).error).toMatchObject(certificateWanted);
      },
    );
  });
});

const certificateWanted = {
  code: "UNREACHABLE",
  message: expect.stringMatching(/certificate/),
  hint: expect.stringContaining("certs.d"),
};
