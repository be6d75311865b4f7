import { BpfcacheError } from "../../core/errors.js";
import type { VerbContext } from "../verb.js";

/** Each shell's script is loaded when it is asked for. */
const scripts: Readonly<Record<string, () => Promise<{ readonly script: () => string }>>> = {
  bash: () => import("./bash.js"),
  zsh: () => import("./zsh.js"),
  fish: () => import("./fish.js"),
};

export async function run({ words, settings, output }: VerbContext): Promise<void> {
  const [shell = ""] = words;
  // What the scripts ask while somebody waits at a prompt; nothing is loaded that it does not need.
  if (shell === "references") {
    const { cachedReferences } = await import("./references.js");
    const references = cachedReferences(settings.directory);
    output.result({ references }, () => references.map((reference) => `${reference}\n`).join(""));
    return;
  }
  const load = scripts[shell];
  if (load === undefined) {
    throw new BpfcacheError("USAGE", `there is no completion for ${JSON.stringify(shell)}`, {
      hint: `There is one for ${Object.keys(scripts).join(", ")}.`,
    });
  }
  const { script } = await load();
  output.result({ shell, script: script() }, script);
}
