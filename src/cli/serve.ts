import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { BpfcacheError } from "../core/errors.js";
import type { ServeOptions } from "../serve/server.js";
import type { Arguments } from "./arguments.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { options, settings, output, signal } = context;
  const address = parseAddress(options.value("listen") ?? "127.0.0.1:5000");
  const htpasswdFile = options.value("htpasswd");
  await withCache(context, async (cache) => {
    const server = await cache.serve({ ...address, tls: await tlsOf(options), htpasswdFile });
    output.result(
      { url: server.url, directory: settings.directory },
      () => `Serving ${settings.directory} on ${server.url}\n`,
    );
    if (!signal.aborted) await once(signal, "abort");
    await server.close();
  });
}

function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not an address to listen on`, {
      hint: "Write HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000.",
    });
  }
  return { host, port };
}

async function tlsOf(options: Arguments): Promise<ServeOptions["tls"]> {
  const [certificateFile, keyFile] = [options.value("tls-cert"), options.value("tls-key")];
  if (certificateFile === undefined && keyFile === undefined) return undefined;
  if (certificateFile === undefined || keyFile === undefined) {
    throw new BpfcacheError("USAGE", "--tls-cert and --tls-key go together");
  }
  return { certificate: await readPem(certificateFile), key: await readPem(keyFile) };
}

function readPem(path: string): Promise<Buffer> {
  return readFile(path).catch((cause: Error) => {
    throw new BpfcacheError("USAGE", `cannot read ${path}: ${cause.message}`, { cause });
  });
}
