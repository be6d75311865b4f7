import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { hashSync } from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { ServedCache } from "../serve/served-cache.js";
import { bytecodeImage, imageIndex, minimalBpfElf } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";

// A cache that serves over TLS with a password, and the field's own clients pulling from it at the same time.

const execute = promisify(execFile);
const missing = requireTools("oras", "skopeo", "crane");
const objects = [{ path: "program.o", bytes: minimalBpfElf({ programs: [{ name: "served" }] }) }];
const single = bytecodeImage({ objects });
const index = imageIndex([{ image: single }, { image: bytecodeImage({ platform: "linux/arm64" }) }]);
const images = { "quay.io/org/single:v1": single, "quay.io/org/index:v1": index };
const fixture = (name: string): Buffer => readFileSync(new URL(`../serve/fixtures/${name}`, import.meta.url));

describe.skipIf(missing)(`clients of a served cache${missing ?? ""}`, { timeout: 120_000 }, () => {
  let scratch: string;
  let served: ServedCache;
  let authFile: string;
  let certificates: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "bpfcache-clients-"));
    const htpasswdFile = join(scratch, "users");
    writeFileSync(htpasswdFile, `reader:${hashSync("let me in", 4)}\n`);
    const tls = { certificate: fixture("certificate.pem"), key: fixture("key.pem") };
    served = await ServedCache.start(images, { tls, htpasswdFile });
    certificates = join(scratch, "certificates");
    mkdirSync(certificates);
    writeFileSync(join(certificates, "ca.crt"), tls.certificate);
    authFile = join(scratch, "config.json");
    const auth = Buffer.from("reader:let me in").toString("base64");
    writeFileSync(authFile, JSON.stringify({ auths: { [served.server.address]: { auth } } }));
  });

  afterAll(async () => {
    await served.close();
    rmSync(scratch, { recursive: true, force: true });
  });

  const at = (reference: string): string => `${served.server.address}/${reference}`;
  const ca = (): string => join(certificates, "ca.crt");

  async function skopeo(reference: string): Promise<string> {
    const flags = ["--authfile", authFile, "--cert-dir", certificates];
    const { stdout } = await execute("skopeo", ["inspect", "--raw", ...flags, `docker://${at(reference)}`], {
      encoding: "buffer",
    });
    return stdout.toString();
  }

  async function oras(reference: string, layout: string): Promise<string> {
    await execute("oras", [
      "cp",
      "--from-registry-config",
      authFile,
      "--from-ca-file",
      ca(),
      "--to-oci-layout",
      at(reference),
      `${layout}:v1`,
    ]);
    const { stdout } = await execute("oras", ["manifest", "fetch", "--oci-layout", `${layout}:v1`]);
    return stdout;
  }

  async function crane(reference: string): Promise<string> {
    const environment = { ...process.env, DOCKER_CONFIG: scratch, SSL_CERT_FILE: ca() };
    const { stdout } = await execute("crane", ["manifest", at(reference)], { env: environment });
    return stdout;
  }

  async function bpfcache(reference: string): Promise<string> {
    await using cache = await openCache({ authFile, caFile: ca(), platform: "linux/amd64" });
    const { rootDigest } = await cache.pull(at(reference));
    return rootDigest;
  }

  it.each(Object.keys(images))("all get %s at once, byte for byte", async (reference) => {
    const root = images[reference as keyof typeof images].root;
    const name = reference.replace(/\W/g, "-");
    const [bySkopeo, byOras, byCrane, byBpfcache] = await Promise.all([
      skopeo(reference),
      oras(reference, join(scratch, name)),
      crane(reference),
      bpfcache(reference),
    ]);
    expect(bySkopeo).toBe(root.bytes.toString());
    expect(byOras.trimEnd()).toBe(root.bytes.toString().trimEnd());
    expect(byCrane.trimEnd()).toBe(root.bytes.toString().trimEnd());
    expect(byBpfcache).toBe(root.digest);
  });

  it("list tags and repositories", async () => {
    const environment = { ...process.env, DOCKER_CONFIG: scratch, SSL_CERT_FILE: ca() };
    const run = async (...args: string[]): Promise<string> =>
      (await execute("crane", args, { env: environment })).stdout;
    expect(await run("ls", at("quay.io/org/single"))).toBe("v1\n");
    expect((await run("catalog", served.server.address)).split("\n").filter(Boolean)).toEqual([
      "quay.io/org/index",
      "quay.io/org/single",
    ]);
  });

  it("without a password are refused", async () => {
    await expect(
      execute("skopeo", [
        "inspect",
        "--no-creds",
        "--cert-dir",
        certificates,
        `docker://${at("quay.io/org/single:v1")}`,
      ]),
    ).rejects.toThrow(/unauthorized|authentication required/i);
  });

  it("with a mirror of their own in front find the images under their own names", async () => {
    const hosts = join(scratch, "hosts");
    mkdirSync(join(hosts, "quay.io"), { recursive: true });
    writeFileSync(
      join(hosts, "quay.io", "hosts.toml"),
      `[host."https://${served.server.address}"]\ncapabilities = ["pull", "resolve"]\nca = ${JSON.stringify(ca())}\n` +
        `[host."https://${served.server.address}".header]\nauthorization = "Basic ${Buffer.from("reader:let me in").toString("base64")}"\n`,
    );
    await using cache = await openCache({
      registryConfig: { hostsDirectory: hosts },
      platform: "linux/amd64",
    });
    const { rootDigest, reference } = await cache.pull("quay.io/org/index:v1");
    expect({ rootDigest, reference }).toEqual({
      rootDigest: index.root.digest,
      reference: "quay.io/org/index:v1",
    });
  });
});
