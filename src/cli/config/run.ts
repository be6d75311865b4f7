import { BpfcacheError } from "../../core/errors.js";
import type { OptionValue } from "../arguments.js";
import { printable } from "../output.js";
import { tableOf } from "../terminal/table.js";
import type { VerbContext } from "../verb.js";
import { type Configuration, describeOrigin, type Origin } from "./configuration.js";
import { defaultOf, limitSpecs, settingSpecs } from "./setting.js";

/** A setting as the JSON document `config` has it. */
export interface ShownSetting {
  readonly name: string;
  /** Null when nothing sets it and nothing holds without it. */
  readonly value: OptionValue | null;
  readonly origin: Origin | { readonly from: "default" };
}

export async function run({ words, configuration, output }: VerbContext): Promise<void> {
  const [action = ""] = words;
  if (action !== "show") {
    throw new BpfcacheError("USAGE", `config can be shown, and not ${JSON.stringify(action)}`, {
      hint: "Write bpfcache config show.",
    });
  }
  const settings = settingSpecs.map((spec): ShownSetting => {
    const set = configuration.values.get(spec.name);
    if (set !== undefined) return { name: spec.name, value: set.value, origin: set.origin };
    const value = defaultOf(spec) ?? (spec.value === undefined ? false : null);
    return { name: spec.name, value, origin: { from: "default" } };
  });
  output.result({ files: configuration.files, settings }, () => {
    const { width, style } = output;
    return describe(settings.filter(isWorthShowing), configuration, { width, style });
  });
}

/** The limits are many, and hardly ever set. */
function isWorthShowing({ name, origin }: ShownSetting): boolean {
  return origin.from !== "default" || !limitSpecs.some((limit) => limit.name === name);
}

function describe(
  settings: readonly ShownSetting[],
  { files }: Configuration,
  terminal: Parameters<typeof tableOf>[2],
): string {
  const columns = [
    { heading: "SETTING" },
    { heading: "VALUE", cut: { from: "middle", least: 12 } },
    { heading: "FROM", cut: { from: "middle", least: 12 } },
  ] as const;
  const rows = settings.map(({ name, value, origin }) => [
    name,
    value === null ? "-" : printable(String(value)),
    origin.from === "default" ? "default" : describeOrigin(origin),
  ]);
  const places = files.map(({ path, isThere }) => `${path}: ${isThere ? "read" : "not there"}\n`);
  return `${tableOf(columns, rows, terminal)}\n${places.join("")}`;
}
