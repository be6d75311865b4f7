import { printable } from "./output.js";
import { parseProgramId } from "./program-load.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, output, signal } = context;
  const id = parseProgramId(words[0] ?? "");
  const program = await withCache(context, (cache) => cache.programs.unload(id, signal));
  output.result(program, () => `unloaded ${program.id} (${printable(program.name)})\n`);
}
