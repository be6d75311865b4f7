import { once } from "node:events";
import { BpfcacheError } from "../core/errors.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { options, settings, output, signal } = context;
  const address = parseAddress(options.value("listen") ?? "127.0.0.1:5000");
  await withCache(context, async (cache) => {
    const server = await cache.serve(address);
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
