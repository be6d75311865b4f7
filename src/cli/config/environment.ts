import { BpfcacheError } from "../../core/errors.js";
import type { OptionValue } from "../arguments.js";
import type { GlobalOptionSpec } from "../verb.js";
import type { ConfiguredValue } from "./configuration.js";
import { settingSpecs, variableOf } from "./setting.js";

const truths: Readonly<Record<string, boolean>> = {
  1: true,
  true: true,
  yes: true,
  on: true,
  0: false,
  false: false,
  no: false,
  off: false,
};

/** The settings that variables have; one that is empty has none. Throws USAGE for a flag that is neither on nor off. */
export function valuesOfEnvironment(environment: NodeJS.ProcessEnv): readonly ConfiguredValue[] {
  return settingSpecs.flatMap((spec) => {
    const variable = variableOf(spec);
    const text = variable === undefined ? undefined : environment[variable];
    if (variable === undefined || text === undefined || text === "") return [];
    const value = parseVariable(spec, variable, text);
    return [{ name: spec.name, value, origin: { from: "environment", variable } }];
  });
}

function parseVariable(spec: GlobalOptionSpec, variable: string, text: string): OptionValue {
  if (spec.value !== undefined) return spec.multiple === true ? text.split(",") : text;
  const truth = truths[text.toLowerCase()];
  if (truth !== undefined) return truth;
  throw new BpfcacheError("USAGE", `${variable} takes true or false, not ${JSON.stringify(text)}`);
}
