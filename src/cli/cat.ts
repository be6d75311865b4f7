import { writeFileSync } from "node:fs";
import { BpfcacheError } from "../core/errors.js";
import { openReader } from "../reader.js";
import { parseGlobals } from "./global-values.js";
import type { VerbContext } from "./verb.js";

export async function run({ words, options, settings, output }: VerbContext): Promise<void> {
  const [reference = ""] = words;
  const file = options.value("output");
  const globals = parseGlobals(options.values("global"));
  const reader = openReader({ directory: settings.directory });
  try {
    const { bytes, ...description } = reader.bytecode(reference, {
      platform: settings.platform,
      object: options.value("object"),
      program: options.value("program"),
      globals,
    });
    if (file !== undefined) writeFile(file, bytes);
    else if (output.isJson) {
      throw new BpfcacheError("USAGE", "--json and the bytecode cannot share standard output", {
        hint: "Add -o FILE.",
      });
    } else await writeOut(bytes);
    if (output.isJson) output.result(description, () => "");
  } finally {
    reader.close();
  }
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
