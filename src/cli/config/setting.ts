import { defaultLimits, type Limits } from "../../core/limits.js";
import { globalOptions, limitSetting } from "../settings.js";
import type { GlobalOptionSpec } from "../verb.js";

/** They are in a table of their own, and no options. */
export const limitSpecs: readonly GlobalOptionSpec[] = (Object.keys(defaultLimits) as (keyof Limits)[]).map(
  (name) => ({ name: limitSetting(name), value: "N", summary: "", default: String(defaultLimits[name]) }),
);

/** All that configuration files may set, by the names it has there. */
export const settingSpecs: readonly GlobalOptionSpec[] = [
  ...globalOptions.filter(({ isPerCall }) => isPerCall !== true),
  ...limitSpecs,
];

/** The variable that sets it, or undefined for a limit: those are too many to be worth one each. */
export function variableOf({ name, environment }: GlobalOptionSpec): string | undefined {
  if (limitSpecs.some((limit) => limit.name === name)) return undefined;
  return environment ?? `BPFCACHE_${name.toUpperCase().replaceAll("-", "_")}`;
}

export function defaultOf({ default: value }: GlobalOptionSpec): string | undefined {
  return typeof value === "function" ? value() : value;
}
