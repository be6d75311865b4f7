import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { digestOf } from "../../src/core/digest.js";
import { openCache } from "../../src/open-cache.js";
import type { RegistryServer } from "../../src/serve/server.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import {
  bytecodeImage,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  type TestIndex,
  writeLayout,
} from "../support/image-builder.js";

const platform = "linux/amd64";
const single = imageOf("single");
const amd64 = imageOf("indexed");
const arm64 = bytecodeImage({ platform: "linux/arm64" });
const index = imageIndex([{ image: amd64 }, { image: arm64 }]);
const other = imageOf("other");
const docker = bytecodeImage({ docker: true, objects: [objectOf("docker")] });

function imageOf(program: string): TestImage {
  return bytecodeImage({ objects: [objectOf(program)] });
}

function objectOf(program: string): { path: string; bytes: Buffer } {
  return { path: `${program}.o`, bytes: minimalBpfElf({ programs: [{ name: program }] }) };
}

const names: Readonly<Record<string, TestImage | TestIndex>> = {
  "registry.example/org/single:v1": single,
  "registry.example/org/indexed:v1": index,
  "registry.example/org/other:v1": other,
  "registry.example/org/docker:v1": docker,
  "docker.io/library/hub:v1": single,
};

const repository = "registry.example/org/single";

let directory: TemporaryDirectory;
let cache: BytecodeCache;
let server: RegistryServer;

beforeAll(async () => {
  directory = new TemporaryDirectory();
  const layout = directory.join("layout");
  writeLayout(
    layout,
    Object.entries(names).map(([name, root]) => ({ name, root })),
  );
  cache = await openCache({ directory: directory.join("cache"), platform });
  const { failed } = await cache.seed([layout]);
  expect(failed).toEqual([]);
  server = await cache.serve();
});

afterAll(async () => {
  await server.close();
  await cache.close();
  directory[Symbol.dispose]();
});

function ask(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}${path}`, { redirect: "error", ...init });
}

async function errorOf(response: Response): Promise<unknown> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return { status: response.status, type: response.headers.get("content-type"), code: errors[0]?.code };
}

function refused(status: number, code: string): unknown {
  return { status, type: expect.stringMatching(/^application\/json/), code };
}

describe("the end points", () => {
  it("begin with /v2/, which says that this is a registry", async () => {
    const response = await ask("/v2/");
    expect(response.status).toBe(200);
    expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
  });

  it.each(["/v1/", "/v2/registry.example/org/single/tags", "/v2/manifests/v1", "/metrics/"])(
    "have no %s",
    async (path) => {
      expect((await ask(path)).status).toBe(404);
    },
  );

  it("say which port was found free", () => {
    expect(server.address).toMatch(/^127\.0\.0\.1:[1-9]\d+$/);
    expect(server.url).toBe(`http://${server.address}`);
  });
});

describe("a manifest", () => {
  const cases: readonly [string, TestImage | TestIndex, string][] = [
    ["an OCI image", single, repository],
    ["an OCI index", index, "registry.example/org/indexed"],
    ["a Docker schema 2 image", docker, "registry.example/org/docker"],
  ];

  describe.each(cases)("of %s", (_, { root }, name) => {
    it.each(["v1", root.digest])("is served by %s, byte for byte", async (what) => {
      const response = await ask(`/v2/${name}/manifests/${what}`);
      expect(response.status).toBe(200);
      expect(Buffer.from(await response.arrayBuffer()).equals(root.bytes)).toBe(true);
    });

    it("has its media type, digest, size and ETag", async () => {
      const { headers } = await ask(`/v2/${name}/manifests/v1`);
      expect(headers.get("content-type")).toBe(root.mediaType);
      expect(headers.get("docker-content-digest")).toBe(root.digest);
      expect(headers.get("content-length")).toBe(String(root.size));
      expect(headers.get("etag")).toBe(`"${root.digest}"`);
    });
  });

  it("of the platform that was cached is served by its own digest", async () => {
    const response = await ask(`/v2/registry.example/org/indexed/manifests/${amd64.manifest.digest}`);
    expect(digestOf(Buffer.from(await response.arrayBuffer()))).toBe(amd64.manifest.digest);
  });

  it("of a platform that was not cached is unknown", async () => {
    const response = await ask(`/v2/registry.example/org/indexed/manifests/${arm64.manifest.digest}`);
    expect(await errorOf(response)).toEqual(refused(404, "MANIFEST_UNKNOWN"));
  });

  it.each(['"DIGEST"', "DIGEST", 'W/"DIGEST"', '"other", "DIGEST"', "*"])(
    "that the client has already, by If-None-Match: %s, is 304 without a body",
    async (header) => {
      const ifNoneMatch = header.replace("DIGEST", single.root.digest);
      const response = await ask(`/v2/${repository}/manifests/v1`, {
        headers: { "if-none-match": ifNoneMatch },
      });
      expect(response.status).toBe(304);
      expect(response.headers.get("etag")).toBe(`"${single.root.digest}"`);
      expect(await response.text()).toBe("");
    },
  );

  it("that the client has in an older version is sent", async () => {
    const headers = { "if-none-match": `"${other.root.digest}"` };
    expect((await ask(`/v2/${repository}/manifests/v1`, { headers })).status).toBe(200);
  });

  it("with an unknown tag is MANIFEST_UNKNOWN", async () => {
    expect(await errorOf(await ask(`/v2/${repository}/manifests/v9`))).toEqual(
      refused(404, "MANIFEST_UNKNOWN"),
    );
  });

  it("with an unknown digest is MANIFEST_UNKNOWN", async () => {
    const response = await ask(`/v2/${repository}/manifests/sha256:${"0".repeat(64)}`);
    expect(await errorOf(response)).toEqual(refused(404, "MANIFEST_UNKNOWN"));
  });

  it("in an unknown repository is MANIFEST_UNKNOWN or NAME_UNKNOWN", async () => {
    const response = await ask("/v2/registry.example/org/none/manifests/v1");
    expect(await errorOf(response)).toEqual({
      ...(refused(404, "") as object),
      code: expect.stringMatching(/^(MANIFEST|NAME)_UNKNOWN$/),
    });
  });

  it("of another repository is not served under this one", async () => {
    const response = await ask(`/v2/${repository}/manifests/${other.root.digest}`);
    expect(await errorOf(response)).toEqual(refused(404, "MANIFEST_UNKNOWN"));
  });

  it.each(["registry.example/org/singl", "registry.example/org", "registry.example/org/single/v1"])(
    "is not served under %s, which only begins as its repository does or goes on from it",
    async (name) => {
      expect((await ask(`/v2/${name}/manifests/${single.root.digest}`)).status).toBe(404);
    },
  );
});

describe("a blob", () => {
  const [layer] = single.layers;

  it.each([
    ["a layer", layer?.digest ?? "", layer?.bytes],
    ["a config", single.config.digest, single.config.bytes],
  ])("that is %s is served byte for byte, with its digest and size", async (_, digest, bytes) => {
    const response = await ask(`/v2/${repository}/blobs/${digest}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("docker-content-digest")).toBe(digest);
    expect(response.headers.get("content-length")).toBe(String(bytes?.length));
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes ?? Buffer.alloc(0))).toBe(true);
  });

  it("of another repository is not served under this one", async () => {
    const response = await ask(`/v2/${repository}/blobs/${other.layers[0]?.digest}`);
    expect(await errorOf(response)).toEqual(refused(404, "BLOB_UNKNOWN"));
  });

  it("that two repositories have is served under both", async () => {
    for (const name of [repository, "docker.io/library/hub"])
      expect((await ask(`/v2/${name}/blobs/${layer?.digest}`)).status).toBe(200);
  });

  it("that is unknown is BLOB_UNKNOWN", async () => {
    const response = await ask(`/v2/${repository}/blobs/sha256:${"0".repeat(64)}`);
    expect(await errorOf(response)).toEqual(refused(404, "BLOB_UNKNOWN"));
  });

  it("is no manifest, nor a manifest a blob", async () => {
    expect((await ask(`/v2/${repository}/manifests/${layer?.digest}`)).status).toBe(404);
    expect((await ask(`/v2/${repository}/blobs/${single.root.digest}`)).status).toBe(404);
  });

  it("is no extracted object: those are not what the registry had", async () => {
    const [object] = cache.inspect("registry.example/org/single:v1").objects;
    expect((await ask(`/v2/${repository}/blobs/${object?.digest}`)).status).toBe(404);
  });
});

describe("a repository", () => {
  it("is found without its host when the client names that in ?ns=, as containerd does", async () => {
    const response = await ask("/v2/org/single/manifests/v1?ns=registry.example");
    expect(response.headers.get("docker-content-digest")).toBe(single.root.digest);
  });

  it("is not found under another namespace", async () => {
    expect((await ask("/v2/org/single/manifests/v1?ns=other.example")).status).toBe(404);
  });

  it("of Docker Hub is found in its namespace docker.io", async () => {
    const response = await ask("/v2/library/hub/manifests/v1?ns=docker.io");
    expect(response.headers.get("docker-content-digest")).toBe(single.root.digest);
  });

  it.each([
    "/v2/registry.example/Org/single/manifests/v1",
    "/v2/registry.example/org//single/manifests/v1",
    "/v2/registry.example/org/single/manifests/-bad",
    "/v2/registry.example/org/single/manifests/sha256:abc",
    "/v2/org/single/manifests/v1?ns=not%20a%20host",
    "/v2/registry.example/%ff/manifests/v1",
    "/v2/registry.example/org/%2e%2e%2fsingle/manifests/v1",
  ])("with a malformed name is 400: %s", async (path) => {
    const response = await ask(path);
    expect(await errorOf(response)).toMatchObject({ status: 400, code: expect.stringMatching(/_INVALID$/) });
  });
});

describe("HEAD", () => {
  const paths = [
    "/v2/",
    `/v2/${repository}/manifests/v1`,
    `/v2/${repository}/blobs/${single.config.digest}`,
    `/v2/${repository}/manifests/v9`,
    `/v2/${repository}/blobs/sha256:${"0".repeat(64)}`,
    "/v2/registry.example/Org/single/manifests/v1",
  ];

  it.each(paths)("of %s has the status and headers of GET", async (path) => {
    const [head, get] = await Promise.all([ask(path, { method: "HEAD" }), ask(path)]);
    const told = ({ status, headers }: Response): unknown => ({
      status,
      ...Object.fromEntries(
        [...headers].filter(([name]) => !["date", "connection", "keep-alive"].includes(name)),
      ),
    });
    expect(told(head)).toEqual(told(get));
  });

  it.each(paths)("of %s has no body", async (path) => {
    // Read from the socket: an HTTP client would not show a body that must not be there.
    const [host, port] = server.address.split(":");
    const socket = connect(Number(port), host);
    socket.end(`HEAD ${path} HTTP/1.1\r\nHost: ${server.address}\r\nConnection: close\r\n\r\n`);
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 \d{3} /);
    expect(answer.slice(answer.indexOf("\r\n\r\n") + 4)).toBe("");
  });
});

describe("a read-only registry", () => {
  it.each([
    ["POST", `/v2/${repository}/blobs/uploads/`],
    ["PUT", `/v2/${repository}/manifests/v1`],
    ["PATCH", `/v2/${repository}/blobs/uploads/1`],
    ["DELETE", `/v2/${repository}/manifests/${single.root.digest}`],
  ])("answers %s with 405", async (method, path) => {
    const response = await ask(path, { method });
    expect(await errorOf(response)).toEqual(refused(405, "UNSUPPORTED"));
  });

  it("says with a 405 what it does allow, as RFC 9110 §15.5.6 demands", async () => {
    const response = await ask(`/v2/${repository}/manifests/v1`, { method: "DELETE" });
    expect(response.headers.get("allow")).toBe("GET, HEAD");
  });

  it("is not changed by what it refuses", async () => {
    await ask(`/v2/${repository}/manifests/${single.root.digest}`, { method: "DELETE" });
    expect((await ask(`/v2/${repository}/manifests/v1`)).status).toBe(200);
  });

  it("survives a client that goes away in the middle of an answer", async () => {
    const [host, port] = server.address.split(":");
    const socket = connect(Number(port), host);
    await once(socket, "connect");
    socket.write(`GET /v2/${repository}/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.resetAndDestroy();
    expect((await ask("/v2/")).status).toBe(200);
  });

  it("refuses a port that is taken with USAGE", async () => {
    const port = Number(server.address.split(":")[1]);
    await expect(cache.serve({ port })).rejects.toMatchObject({ code: "USAGE" });
  });

  it("frees its port on close, even while clients are connected", async () => {
    const second = await cache.serve();
    const { address } = second;
    const port = Number(address.split(":")[1]);
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    const closed = once(socket, "close");
    await second.close();
    await closed;
    const third = await cache.serve({ port });
    expect(third.address).toBe(address);
    await third.close();
  });
});

describe("content that has changed on the disk", () => {
  const image = imageOf("soon_damaged");

  it.each([
    ["a manifest", image.manifest.bytes, `manifests/${image.manifest.digest}`],
    ["a layer", image.layers[0]?.bytes ?? Buffer.alloc(0), `blobs/${image.layers[0]?.digest}`],
    ["a config", image.config.bytes, `blobs/${image.config.digest}`],
  ])("is never sent: %s becomes an error", async (_, bytes, path) => {
    using own = new TemporaryDirectory();
    writeLayout(own.join("layout"), [{ name: "registry.example/org/damaged:v1", root: image }]);
    const filling = await openCache({ directory: own.join("cache"), platform });
    await filling.seed([own.join("layout")]);
    await filling.close();
    const data = readFileSync(own.join("cache", "data.mdb"));
    const at = data.indexOf(bytes) + (bytes.length >> 1);
    data.writeUInt8(data.readUInt8(at) ^ 1, at);
    writeFileSync(own.join("cache", "data.mdb"), data);
    await using damaged = await openCache({ directory: own.join("cache"), platform });
    await using serving = await damaged.serve();

    const response = await fetch(`${serving.url}/v2/registry.example/org/damaged/${path}`);

    expect(response.status).toBe(500);
    expect(response.headers.get("content-type")).toBe("application/json");
  });
});
