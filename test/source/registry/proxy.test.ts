import { once } from "node:events";
import { createServer, get, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { requireTools } from "../../support/tools.js";
import { times } from "./fault-server.js";
import { failureOf, lookupAs, pullImage, sourceFor, startRegistry } from "./support.js";
import { useCertificates } from "./use-certificates.js";

const missing = requireTools("openssl");
const certificates = useCertificates();
let proxy: Server;
let asked: string[] = [];
/** Where the proxy takes everybody, whatever they ask for. */
let target: { port: number };

beforeAll(async () => {
  proxy = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const { pathname } = new URL(request.url ?? "");
    get({ host: "127.0.0.1", port: target.port, path: pathname, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
  });
  proxy.on("connect", (request, socket) => {
    asked.push(`CONNECT ${request.url}`);
    const onward = connect(target.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [onward, socket]) end.on("error", () => end.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
});

afterEach(() => {
  asked = [];
});

afterAll(() => {
  proxy.close();
  proxy.closeAllConnections();
});

function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return { HTTPS_PROXY: url, HTTP_PROXY: url, ...more };
}

describe.skipIf(missing)(`a proxy in the environment${missing ?? ""}`, () => {
  it("is used for https with CONNECT, and for http without", async () => {
    const secure = await startRegistry({ kind: "none" }, certificates);
    target = { port: secure.server.port };
    const source = sourceFor({
      environment: environment(),
      caFile: certificates.caFile,
      plainHttp: ["plain.example"],
    });
    await pullImage(source, secure.addImage("org/program", "v1", undefined, "registry.example"));
    expect(new Set(asked)).toEqual(new Set(["CONNECT registry.example:443"]));
    const plain = await startRegistry();
    target = { port: plain.server.port };
    asked = [];
    await pullImage(source, plain.addImage("org/program", "v1", undefined, "plain.example"));
    expect(asked[0]).toBe("GET http://plain.example/v2/org/program/manifests/v1");
  });

  it("is not used for hosts in NO_PROXY, nor for this machine", async () => {
    const registry = await startRegistry();
    const { port } = registry.server;
    const source = sourceFor({
      environment: environment({ NO_PROXY: "example.org,.example" }),
      plainHttp: ["registry.example"],
      lookup: lookupAs("127.0.0.1"),
    });
    await pullImage(source, registry.addImage("org/program", "v1", undefined, `registry.example:${port}`));
    await pullImage(source, registry.addImage("org/program", "v1", undefined, `localhost:${port}`));
    expect(asked).toEqual([]);
  });

  it("that nobody answers is UNREACHABLE", async () => {
    const registry = await startRegistry();
    const image = registry.addImage("org/program", "v1", undefined, "registry.example");
    const source = sourceFor({ environment: { HTTPS_PROXY: "http://127.0.0.1:1" }, limits: { retries: 1 } });
    expect((await failureOf(source.resolve(image.reference))).code).toBe("UNREACHABLE");
  });
});

describe.skipIf(missing)(`Docker Hub${missing ?? ""}`, () => {
  it("is asked at registry-1.docker.io, and revalidated by HEAD, which its quota does not count", async () => {
    const hub = await startRegistry({ kind: "none" }, certificates);
    target = { port: hub.server.port };
    const image = hub.addImage("library/program", "v1", undefined, "docker.io");
    const source = sourceFor({ environment: environment(), caFile: certificates.caFile });
    await pullImage(source, image);
    expect(asked[0]).toBe("CONNECT registry-1.docker.io:443");
    const known = { digest: image.descriptor.digest };
    expect(await source.resolve(image.reference, { known })).toMatchObject({ unchanged: true });
    expect(hub.server.log.slice(3)).toEqual(["HEAD /v2/library/program/manifests/v1"]);
  });

  it("is asked by GET when the tag has moved, or HEAD does not work", async () => {
    const hub = await startRegistry({ kind: "none" }, certificates);
    target = { port: hub.server.port };
    const old = hub.addImage("library/program", "v1", undefined, "docker.io");
    const image = hub.addImage("library/program", "v1", undefined, "docker.io");
    const source = sourceFor({ environment: environment(), caFile: certificates.caFile });
    const found = await source.resolve(image.reference, { known: { digest: old.descriptor.digest } });
    expect(found).toMatchObject({ unchanged: false, descriptor: { digest: image.descriptor.digest } });
    hub.server.on(
      ({ method }) => method === "HEAD",
      ...times(1, (_, response) => response.writeHead(405).end()),
    );
    const known = { digest: image.descriptor.digest };
    expect(await source.resolve(image.reference, { known })).toMatchObject({ unchanged: true });
    expect(hub.server.log.map((line) => line.split(" ")[0])).toEqual(["HEAD", "GET", "HEAD", "GET"]);
  });
});
