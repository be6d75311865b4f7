import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { json, User } from "../cli/command.js";
import { type Ended, mainProgram, run } from "../reliability/processes.js";
import { makeCertificates, type TestCertificates } from "../source/registry/certificates.js";
import { requireTools } from "../support/tools.js";
import { writeCertsD } from "./certs-d.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushWithSkopeo } from "./images.js";
import { requireMountNamespaces, withHosts } from "./named-hosts.js";
import { TinyProxy } from "./tinyproxy.js";

/** In the certificate, and led to this machine for the proxy and for us alone. */
const name = "registry.example";

const missing =
  requireTools("docker-registry", "skopeo", "openssl", "tinyproxy", "unshare") ?? requireMountNamespaces();
describe.skipIf(missing)(`tinyproxy in the environment${missing ?? ""}`, () => {
  const image = imageNamed("pass");
  const pulled = { from: "registry", rootDigest: image.root.digest };
  let certificates: TestCertificates;
  let plain: DockerRegistry;
  let secure: DockerRegistry;
  let proxy: TinyProxy;

  beforeAll(async () => {
    certificates = makeCertificates();
    plain = await DockerRegistry.start();
    secure = await DockerRegistry.start({ tls: certificates });
    proxy = await TinyProxy.start([name]);
    await pushWithSkopeo({ [plain.reference("org/pass:v1")]: image });
    using pusher = new User();
    const directory = writeCertsD(pusher.path("certificates"), certificates, "authority");
    await pushWithSkopeo({ [secure.reference("org/pass:v1")]: image }, { certificates: directory });
  });
  afterAll(async () => {
    for (const server of [plain, secure, proxy]) await server?.[Symbol.asyncDispose]();
    certificates?.remove();
  });

  /** Pulls from a registry by its name, unless told a host, in a process that knows the proxy. */
  async function pull(
    user: User,
    from: DockerRegistry,
    environment: NodeJS.ProcessEnv,
    host = hostOf(from),
  ): Promise<Ended> {
    const options = ["--json", "--cache-dir", user.path(`cache-${host}`)];
    const trust = from === plain ? ["--plain-http", host] : ["--ca-file", certificates.caFile];
    const words = [mainProgram, "pull", `${host}/org/pass:v1`, ...options, ...trust];
    const [command, ...args] = withHosts(user.path("hosts"), [name], [process.execPath, ...words]);
    return run(command, args, { env: { ...user.environment, ...environment } });
  }

  function hostOf(registry: DockerRegistry): string {
    return registry.host.replace("127.0.0.1", name);
  }

  it("is asked for a registry that speaks http, without CONNECT", async () => {
    using user = new User();
    const { stdout } = await pull(user, plain, { HTTP_PROXY: proxy.url });
    expect(json(stdout)).toMatchObject({ ...pulled, requests: 3 });
    const requests = await proxy.requests();
    expect(requests[0]).toBe(`GET http://${hostOf(plain)}/v2/org/pass/manifests/v1`);
    expect(requests).toHaveLength(3);
  });

  it("is asked to connect to a registry that speaks https", async () => {
    const before = (await proxy.requests()).length;
    using user = new User();
    const { stdout } = await pull(user, secure, { HTTPS_PROXY: proxy.url });
    expect(json(stdout)).toMatchObject(pulled);
    const requests = (await proxy.requests()).slice(before);
    expect(new Set(requests)).toEqual(new Set([`CONNECT ${hostOf(secure)}`]));
  });

  describe("is not asked", () => {
    const both = () => ({ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url });

    it.each(["registry.example", ".example", "other.test,registry.example", "*"])(
      "for a registry that NO_PROXY names: %s",
      async (NO_PROXY) => {
        const before = await proxy.requests();
        using user = new User();
        for (const registry of [plain, secure]) {
          expect(json((await pull(user, registry, { ...both(), NO_PROXY })).stdout)).toMatchObject(pulled);
        }
        expect(await proxy.requests()).toEqual(before);
      },
    );

    it("for a registry on this machine, whatever the environment says", async () => {
      const before = await proxy.requests();
      using user = new User();
      for (const registry of [plain, secure]) {
        const { stdout } = await pull(user, registry, both(), registry.host);
        expect(json(stdout)).toMatchObject(pulled);
      }
      expect(await proxy.requests()).toEqual(before);
    });
  });
});
