import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import type { PushedObject } from "../options.js";
import { expandShortNames } from "./short-names.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const [name = "", ...files] = words;
  const [reference = name] = await expandShortNames([name], settings);
  const target = options.value("to");
  const [to] = target === undefined ? [] : await expandShortNames([target], settings);
  if (to !== undefined && files.length > 0)
    throw new BpfcacheError(
      "USAGE",
      "--to is for what is cached; objects are pushed to the reference itself",
    );
  const objects = await Promise.all(files.map(readObject));
  const pushed = await withCache(context, (cache) =>
    cache.push(reference, { objects: objects.length === 0 ? undefined : objects, to, signal }),
  );
  output.result(pushed, () => `pushed ${pushed.reference}@${pushed.rootDigest}\n`);
}

/** `FILE`, or `os/arch=FILE`. */
async function readObject(text: string): Promise<PushedObject> {
  const [, platform, path = text] = /^([a-z0-9]+\/[a-z0-9_/]+)=(.+)$/.exec(text) ?? [];
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new BpfcacheError("USAGE", `cannot read ${path}: ${cause.message}`, { cause });
  });
  return { name: basename(path), bytes, platform };
}
