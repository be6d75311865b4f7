import { writeFileSync } from "node:fs";
import type { Digest } from "../core/digest.js";
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { emit } from "../core/events.js";
import { formatPlatform } from "../core/platform.js";
import { type BytecodeReader, openReader, platformOf } from "../reader.js";
import type { Bytecode, BytecodeDescription } from "../store/bytecode.js";
import type { CachedImage, ImageDetails } from "../store/catalog.js";
import { describeExplanation } from "./explain.js";
import { explainAbsence, explainRead, explainRefusal, type ReadExplanation } from "./explain-read.js";
import { explainTrust, type TrustExplanation } from "./explain-trust.js";
import { parseGlobals } from "./global-values.js";
import type { Settings } from "./settings.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { options, output } = context;
  const file = options.value("output");
  const { bytes, ...description } = await readOrRepair(context);
  const explanation = options.isSet("explain") ? explainHit(context, description) : undefined;
  if (file !== undefined) writeFile(file, bytes);
  else if (output.isJson) {
    throw new BpfcacheError("USAGE", "--json and the bytecode cannot share standard output", {
      hint: "Add -o FILE.",
    });
  } else await writeOut(bytes);
  if (output.isJson)
    output.result({ ...description, ...(explanation && { explain: explanation }) }, () => "");
  else if (explanation !== undefined)
    output.note(() => describeExplanation(description.reference, explanation));
}

/** What is damaged is taken in again, unless nothing may be fetched. */
async function readOrRepair(context: VerbContext): Promise<Bytecode> {
  const { settings, onEvent, signal } = context;
  const [reference = ""] = context.words;
  try {
    return read(context);
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_CACHED") explainMiss(context);
    if (error instanceof BpfcacheError && error.code === "UNTRUSTED") explainRefused(context);
    const isDamage = error instanceof BpfcacheError && error.code === "CACHE_CORRUPT";
    if (!isDamage || settings.isOffline || settings.pullPolicy === "Never") throw error;
    emit(onEvent, { event: "warning", reference, message: `${error.message}; it is taken in again` });
    try {
      await withCache(context, (cache) => cache.pull(reference, { pullPolicy: "IfNotPresent", signal }));
    } catch (cause) {
      throw beyondRepair(error, toBpfcacheError(cause));
    }
    return read(context);
  }
}

function explainHit(
  { words, options, settings }: VerbContext,
  description: BytecodeDescription,
): ReadExplanation {
  const [reference = ""] = words;
  using reader = readerOf(settings);
  const details = detailsOf(reader, reference, settings);
  return explainRead({
    reference,
    description,
    origin: details,
    objects: details?.objects.length ?? 1,
    object: options.value("object"),
    program: options.value("program"),
    globals: options.values("global"),
    trust: trustOf(reader, reference, description.rootDigest, settings),
  });
}

function trustOf(
  reader: BytecodeReader,
  reference: string,
  rootDigest: Digest,
  { policyFile }: Settings,
): TrustExplanation | null {
  const verdict = reader.verdict(reference, rootDigest);
  return verdict && explainTrust(verdict, policyFile);
}

/** Undefined where something that the bytecode does not need was found damaged. */
function detailsOf(reader: BytecodeReader, reference: string, settings: Settings): ImageDetails | undefined {
  try {
    return reader.inspect(reference, { platform: settings.platform });
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "CACHE_CORRUPT") return undefined;
    throw error;
  }
}

function explainRefused({ words, options, settings, output }: VerbContext): void {
  if (!options.isSet("explain")) return;
  const [reference = ""] = words;
  using reader = readerOf(settings);
  const details = detailsOf(reader, reference, settings);
  const trust = details && trustOf(reader, reference, details.rootDigest, settings);
  if (trust)
    output.note(() =>
      describeExplanation(reference, {
        sentences: explainRefusal(details.platform, details.rootDigest, trust),
      }),
    );
}

function explainMiss({ words, options, settings, output }: VerbContext): void {
  if (!options.isSet("explain")) return;
  const [reference = ""] = words;
  const platform = formatPlatform(platformOf(settings.platform));
  output.note(() =>
    describeExplanation(reference, { sentences: explainAbsence(reference, platform, cachedIn(settings)) }),
  );
}

/** Nothing, where there is no cache yet. */
function cachedIn({ directory }: Settings): readonly CachedImage[] {
  try {
    using reader = openReader({ directory });
    return reader.list();
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_CACHED") return [];
    throw error;
  }
}

function beyondRepair(damage: BpfcacheError, cause: BpfcacheError): BpfcacheError {
  if (cause.code === "INTERRUPTED") return cause;
  const { reference, hint } = damage;
  const message = `${damage.message}, and could not be taken in again: ${cause.message}`;
  return new BpfcacheError("CACHE_CORRUPT", message, { reference, hint, cause });
}

function read({ words, options, settings }: VerbContext): Bytecode {
  const [reference = ""] = words;
  const globals = parseGlobals(options.values("global"));
  using reader = readerOf(settings);
  return reader.bytecode(reference, {
    platform: settings.platform,
    object: options.value("object"),
    program: options.value("program"),
    globals,
  });
}

function readerOf({ directory, policyFile, trustedRoot }: Settings): BytecodeReader {
  return openReader({ directory, trust: { policyFile, trustedRoot } });
}

function writeFile(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw new BpfcacheError(
      "USAGE",
      `cannot write ${path}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}

async function writeOut(bytes: Uint8Array): Promise<void> {
  if (process.stdout.isTTY) {
    throw new BpfcacheError("USAGE", "the bytecode is binary and standard output is a terminal", {
      hint: "Add -o FILE.",
    });
  }
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      // A reader that has seen enough is no failure of ours.
      if (error && !("code" in error && error.code === "EPIPE")) reject(error);
      else resolve();
    });
  });
}
