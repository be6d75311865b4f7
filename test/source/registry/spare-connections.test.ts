import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { RegistrySource } from "../../../src/source/registry/registry-source.js";
import { requireTools } from "../../support/tools.js";
import { failureOf, sourceFor, startRegistry } from "./support.js";
import type { TestImage, TestRegistry } from "./test-registry.js";
import { useCertificates } from "./use-certificates.js";

const missing = requireTools("openssl");
const certificates = useCertificates();

/** What TLS begins with (RFC 8446, section 5.1). */
const handshake = 0x16;

const fronts: { close(): void }[] = [];
afterEach(() => {
  for (const front of fronts.splice(0)) front.close();
});

/** A server that does with each connection what it is told. */
async function listen(serve: (socket: Socket) => void): Promise<{ port: number; accepted: number }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    front.accepted = sockets.push(socket);
    socket.on("error", () => socket.destroy());
    serve(socket);
  });
  const front = { port: 0, accepted: 0 };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  fronts.push({
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  });
  front.port = (server.address() as AddressInfo).port;
  return front;
}

function relay(socket: Socket, port: number, first?: Buffer): void {
  const onward = connect(port, "127.0.0.1");
  onward.on("error", () => socket.destroy());
  if (first !== undefined) onward.write(first);
  socket.pipe(onward).pipe(socket);
}

/** All connections there have been, in their order. */
function connectionsTo({ server }: TestRegistry): Socket[] {
  const made: Socket[] = [];
  server.server.on("connection", (socket) => made.push(socket));
  return made;
}

async function fetchContent(source: RegistrySource, image: TestImage): Promise<void> {
  const fetchOne = async (descriptor: TestImage["config"]): Promise<void> => {
    for await (const _ of await source.fetch(image.reference, descriptor));
  };
  await Promise.all([fetchOne(image.config), fetchOne(image.layer)]);
}

/** An image that was not here, of which no content has been asked for yet: both connections are made. */
async function resolved() {
  const registry = await startRegistry();
  const image = registry.addImage();
  const made = connectionsTo(registry);
  const source = sourceFor();
  await source.resolve(image.reference);
  await expect.poll(() => made.length).toBe(2);
  return { registry, image, made, source };
}

describe("of an image that is not here", () => {
  it("the config and the layer find two connections made, and make none", async () => {
    const { image, made, source } = await resolved();
    await sleep(20); // undici lets a connection rest for a turn before it is used again.
    await fetchContent(source, image);
    expect(made.length).toBe(2);
  });

  it("they make another where the server has closed the one that waited", async () => {
    const { image, made, source } = await resolved();
    made[1]?.destroy();
    await sleep(20);
    await fetchContent(source, image);
    expect(made.length).toBe(3);
  });

  it("a connection that nobody has used ends with the source", async () => {
    const { registry, source } = await resolved();
    await source.close();
    await expect.poll(() => registry.server.connections).toBe(0);
  });
});

describe.skipIf(missing)(`with TLS${missing ?? ""}`, () => {
  it("a connection that never comes about ends with the source", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const silent: Socket[] = [];
    const front = await listen((socket) => {
      if (front.accepted > 1) silent.push(socket.resume());
      else relay(socket, registry.server.port);
    });
    const source = sourceFor({ caFile: certificates.caFile });
    const image = registry.addImage("org/program", "v1", undefined, `localhost:${front.port}`);
    await source.resolve(image.reference);
    await expect.poll(() => silent.length).toBe(1);
    await source.close();
    await expect.poll(() => silent[0]?.closed).toBe(true);
  });

  it("the one that was made to speak http in vain is not used for https", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    // As Go's servers answer http where they speak TLS.
    const front = await listen((socket) => {
      socket.once("data", (first) => {
        if (first[0] !== handshake)
          socket.end("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
        else relay(socket, registry.server.port, first);
      });
    });
    const image = registry.addImage("org/program", "v1", undefined, `localhost:${front.port}`);
    const failure = await failureOf(sourceFor().resolve(image.reference));
    expect(failure.hint).toContain("--ca-file");
  });
});

it("of an image that may be unchanged there is one connection", async () => {
  const registry = await startRegistry();
  const image = registry.addImage();
  const made = connectionsTo(registry);
  const source = sourceFor();
  await source.resolve(image.reference, { known: { digest: image.descriptor.digest } });
  await sleep(20);
  expect(made.length).toBe(1);
});
