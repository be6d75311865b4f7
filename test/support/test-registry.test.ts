import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { get } from "node:http";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { bytecodeImage, imageIndex } from "./image-builder.js";
import { startTestRegistry } from "./test-registry.js";
import { requireTools } from "./tools.js";

const image = bytecodeImage();
const manifestPath = "/v2/org/prog/manifests/v1";

/** The body as it came, and how it ended. */
function download(url: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; body: Buffer; failure?: string }>((resolve) => {
    const chunks: Buffer[] = [];
    const failed = (error: NodeJS.ErrnoException) =>
      resolve({ status: 0, body: Buffer.concat(chunks), failure: error.code ?? error.message });
    get(url, { headers, agent: false }, (response) => {
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
      response.on("error", failed);
    }).on("error", failed);
  });
}

describe("the test registry", () => {
  it("serves manifests by tag and digest, and blobs, and logs every request", async () => {
    await using registry = await startTestRegistry();
    registry.add("org/prog:v1", image);
    const digest = image.root.digest;
    expect((await download(`${registry.url}${manifestPath}`)).body).toEqual(image.root.bytes);
    expect((await download(`${registry.url}/v2/org/prog/manifests/${digest}`)).body).toEqual(
      image.root.bytes,
    );
    expect((await download(`${registry.url}/v2/org/prog/blobs/${image.config.digest}`)).body).toEqual(
      image.config.bytes,
    );
    expect((await download(`${registry.url}/v2/org/prog/manifests/v2`)).status).toBe(404);
    expect(registry.requests.map(({ kind, status }) => `${kind} ${status}`)).toEqual([
      "manifest 200",
      "manifest 200",
      "blob 200",
      "manifest 404",
    ]);
    expect(registry.connections).toBe(4);
  });

  it("answers 304 to a known ETag", async () => {
    await using registry = await startTestRegistry();
    registry.add("org/prog:v1", image);
    const known = { "if-none-match": `"${image.root.digest}"` };
    expect(await download(`${registry.url}${manifestPath}`, known)).toMatchObject({ status: 304 });
  });

  it.each([
    ["truncated", { truncateAt: 10 }, { failure: "ECONNRESET", length: 10 }],
    ["truncated before the first byte", { truncateAt: 0 }, { failure: "ECONNRESET", length: 0 }],
    ["reset after some bytes", { destroyAt: 10 }, { failure: "ECONNRESET" }],
    ["reset at once", { destroyAt: 0 }, { failure: "ECONNRESET", length: 0 }],
    ["shorter than announced", { contentLength: 100_000 }, { failure: "ECONNRESET" }],
    ["without a length", { contentLength: "none" }, { status: 200, length: image.root.size }],
    ["of other bytes", { body: "other" }, { status: 200, length: 5 }],
    ["of another status", { status: 503 }, { status: 503 }],
    ["a redirect", { redirect: "/elsewhere" }, { status: 307 }],
    ["late", { delayMs: 20, stallMs: 20 }, { status: 200, length: image.root.size }],
  ] as const)("breaks answers: %s", async (_, fault, { length, ...expected }: Record<string, unknown>) => {
    await using registry = await startTestRegistry();
    registry.add("org/prog:v1", image);
    registry.break({ kind: "manifest", times: 1 }, fault);
    const broken = await download(`${registry.url}${manifestPath}`);
    expect(broken).toMatchObject(expected);
    if (length !== undefined) expect(broken.body).toHaveLength(length as number);
    expect(await download(`${registry.url}${manifestPath}`)).toEqual({ status: 200, body: image.root.bytes });
  });

  const skopeo = requireTools("skopeo");
  it.skipIf(skopeo).each([
    ["anonymous", {}],
    ["Basic", { auth: { type: "basic", username: "me", password: "secret" } }],
    ["Bearer", { auth: { type: "bearer", username: "me", password: "secret" } }],
    ["anonymous Bearer", { auth: { type: "bearer", tokenMember: "access_token" } }],
  ] as const)(`is read by skopeo: %s${skopeo ?? ""}`, async (_, options) => {
    await using registry = await startTestRegistry(options);
    const index = imageIndex([{ image }]);
    registry.add("org/prog:v1", index);
    const inspect = (...credentials: string[]) =>
      promisify(execFile)(
        "skopeo",
        [
          "inspect",
          "--raw",
          "--tls-verify=false",
          ...credentials,
          `docker://${registry.reference("org/prog:v1")}`,
        ],
        { encoding: "buffer" },
      );
    const { stdout } = await inspect("--creds=me:secret");
    expect(`sha256:${createHash("sha256").update(stdout).digest("hex")}`).toBe(index.root.digest);
    const isPrivate = "auth" in options && "username" in options.auth;
    if (isPrivate) await expect(inspect("--creds=me:wrong")).rejects.toThrow();
  });
});
