import { BpfcacheError } from "../core/errors.js";
import type { LoadVia } from "../programs/programs.js";
import { describeAll } from "./describe-program.js";
import { parseGlobals } from "./global-values.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const file = options.value("file");
  if ((file === undefined) === (words.length === 0)) {
    throw new BpfcacheError("USAGE", "name what to load: either a reference or --file");
  }
  const how = {
    programs: options.values("program"),
    object: options.value("object"),
    globals: parseGlobals(options.values("global")),
    metadata: parseMetadata(options.values("metadata")),
    mapOwner: parseOptionalId(options.value("map-owner")),
    pin: options.value("pin"),
    via: parseVia(options.value("via")),
    pullPolicy: settings.pullPolicy,
    signal,
  };
  const [reference = ""] = words;
  const programs = await withCache(context, (cache) =>
    file === undefined ? cache.programs.load(reference, how) : cache.programs.loadFile(file, how),
  );
  output.result({ programs }, () => describeAll(programs));
}

function parseMetadata(words: readonly string[]): Readonly<Record<string, string>> {
  const pairs = words.map((word): [string, string] => {
    const equals = word.indexOf("=");
    if (equals < 1)
      throw new BpfcacheError("USAGE", `--metadata takes KEY=VALUE, not ${JSON.stringify(word)}`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
  return Object.fromEntries(pairs);
}

function parseVia(text: string | undefined): LoadVia | undefined {
  if (text === undefined || text === "bpftool" || text === "libbpf") return text;
  throw new BpfcacheError("USAGE", `--via takes bpftool or libbpf here, not ${JSON.stringify(text)}`);
}

function parseOptionalId(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseProgramId(text);
}

/** Throws USAGE. */
export function parseProgramId(text: string): number {
  const id = Number(text);
  if (/^\d+$/.test(text) && id > 0 && id < 2 ** 32) return id;
  throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not the id of a program`, {
    hint: "bpfcache program list shows them.",
  });
}
