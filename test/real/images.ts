import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { TemporaryDirectory } from "../reliability/processes.js";
import {
  bpfmanLabels,
  bytecodeImage,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  type TestIndex,
  type TestRoot,
  writeLayout,
} from "../support/image-builder.js";
import type { Login } from "./docker-registry.js";

export const execute = promisify(execFile);

/** An image that shares no blob with one of another name: what is here already is not fetched again. */
export function imageNamed(program: string, platform = "linux/amd64"): TestImage {
  const bytes = minimalBpfElf({ programs: [{ name: program }] });
  return bytecodeImage({
    objects: [{ path: `${program}.o`, bytes }],
    labels: bpfmanLabels({ [program]: "xdp" }),
    platform,
  });
}

/** An index with one image for amd64 and another for arm64. */
export function indexNamed(program: string): TestIndex {
  return imageIndex([
    { image: imageNamed(`${program}_amd64`, "linux/amd64") },
    { image: imageNamed(`${program}_arm64`, "linux/arm64") },
  ]);
}

export interface SkopeoOptions {
  readonly login?: Login;
  /** A directory with authorities (*.crt) and a client's certificate (*.cert, *.key); without it http is spoken. */
  readonly certificates?: string;
}

/** Has skopeo push images, by their references. */
export async function pushWithSkopeo(
  images: Readonly<Record<string, TestRoot>>,
  { login, certificates }: SkopeoOptions = {},
): Promise<void> {
  using directory = new TemporaryDirectory();
  const layout = directory.join("layout");
  writeLayout(
    layout,
    Object.entries(images).map(([name, root]) => ({ name, root })),
  );
  const tls = certificates === undefined ? ["--dest-tls-verify=false"] : [`--dest-cert-dir=${certificates}`];
  const creds = login === undefined ? [] : [`--dest-creds=${login.username}:${login.password}`];
  for (const reference of Object.keys(images)) {
    const names = [`oci:${layout}:${reference}`, `docker://${reference}`];
    await execute("skopeo", ["copy", "--all", ...tls, ...creds, ...names]);
  }
}

/** Pushes an image over HTTP: many are a matter of seconds, without a process for each. */
export async function pushOverHttp(
  host: string,
  repository: string,
  tag: string,
  image: TestImage,
): Promise<void> {
  const base = `http://${host}/v2/${repository}`;
  for (const [digest, bytes] of image.blobs) {
    const upload = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const location = new URL(upload.headers.get("location") ?? "", base);
    location.searchParams.set("digest", digest);
    await requireCreated(fetch(location, { method: "PUT", body: new Uint8Array(bytes) }));
  }
  const { bytes, mediaType } = image.manifest;
  const headers = { "content-type": mediaType };
  await requireCreated(
    fetch(`${base}/manifests/${tag}`, { method: "PUT", headers, body: new Uint8Array(bytes) }),
  );
}

async function requireCreated(sent: Promise<Response>): Promise<void> {
  const { status, url } = await sent;
  if (status !== 201) throw new Error(`status ${status} instead of 201 for ${url}`);
}

/** Writes a file of credentials in the form of Docker's config.json, and returns its path. */
export function writeAuthFile(path: string, host: string, { username, password }: Login): string {
  const auth = Buffer.from(`${username}:${password}`).toString("base64");
  writeFileSync(path, JSON.stringify({ auths: { [host]: { auth } } }), { mode: 0o600 });
  return path;
}
