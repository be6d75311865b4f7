import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { text } from "node:stream/consumers";
import { hashSync } from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServeOptions } from "../../src/serve/server.js";
import { User } from "../cli/command.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage } from "../support/image-builder.js";
import { ServedCache } from "./served-cache.js";

const images = { "registry.example/org/guarded:v1": bytecodeImage({}) };
const manifest = "/v2/registry.example/org/guarded/manifests/v1";

function pem(name: string): Buffer {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url));
}

function basic(user: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

describe("with a password file", () => {
  let files: TemporaryDirectory;
  let served: ServedCache;

  beforeAll(async () => {
    files = new TemporaryDirectory();
    const htpasswdFile = files.join("users");
    const lines = ["# who may read", `alice:${hashSync("right:one", 4)}`, "", `bob:${hashSync("bob's", 4)}`];
    writeFileSync(htpasswdFile, `${lines.join("\n")}\n`);
    served = await ServedCache.start(images, { htpasswdFile });
  });

  afterAll(async () => {
    await served.close();
    files[Symbol.dispose]();
  });

  it.each(["/v2/", manifest, "/v2/_catalog", "/"])(
    "%s without a user is 401 and says what is wanted",
    async (path) => {
      const response = await served.ask(path);
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toMatch(/^Basic realm="bpfcache"/);
      expect(await response.json()).toMatchObject({ errors: [{ code: "UNAUTHORIZED" }] });
    },
  );

  it.each([
    ["alice", "right:one"],
    ["bob", "bob's"],
  ])("%s is answered, time and again", async (user, password) => {
    for (let i = 0; i < 3; i++) {
      expect((await served.ask(manifest, { headers: basic(user, password) })).status).toBe(200);
    }
  });

  it.each([
    ["alice", "wrong"],
    ["alice", ""],
    ["alice", "bob's"],
    ["nobody", "right:one"],
    ["", ""],
  ])("%s with the password %j is refused", async (user, password) => {
    expect((await served.ask(manifest, { headers: basic(user, password) })).status).toBe(401);
  });

  it.each(["Bearer abc", "Basic", "Basic !!!", "Basic YWxpY2U="])("%s is refused", async (authorization) => {
    expect((await served.ask(manifest, { headers: { authorization } })).status).toBe(401);
  });

  it("a line that is not bcrypt is refused with its number, and so is a file that is not there", async () => {
    const bad = files.join("bad");
    writeFileSync(bad, "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    const start = (htpasswdFile: string): Promise<unknown> => served.cache.serve({ htpasswdFile });
    await expect(start(bad)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(/line 1/),
    });
    await expect(start(files.join("none"))).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("with a certificate", () => {
  // Made for these tests with openssl, for 127.0.0.1 and a hundred years; it protects nothing.
  const tls = { certificate: pem("certificate.pem"), key: pem("key.pem") };
  let served: ServedCache;

  beforeAll(async () => {
    served = await ServedCache.start(images, { tls });
  });

  afterAll(() => served.close());

  it("speaks https, and says so in its address", async () => {
    expect(served.server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const body = await new Promise<string>((resolve, reject) => {
      const asked = request(`${served.server.url}${manifest}`, { ca: tls.certificate }, (response) =>
        resolve(text(response)),
      );
      asked.on("error", reject);
      asked.end();
    });
    expect(body).toBe(images["registry.example/org/guarded:v1"].root.bytes.toString());
  });

  it("that is none is USAGE", async () => {
    const options: ServeOptions = { tls: { certificate: "nonsense", key: tls.key } };
    await expect(served.cache.serve(options)).rejects.toMatchObject({ code: "USAGE" });
  });

  it("the command line wants both, certificate and key", async () => {
    using user = new User();
    const { status, stderr } = await user.bpfcache(["serve", "--tls-cert", "x.pem"]);
    expect(status).toBe(2);
    expect(stderr).toContain("--tls-cert and --tls-key go together");
  });
});
