import { BpfcacheError, toBpfcacheError } from "../../core/errors.js";
import { Arguments, type OptionValue } from "../arguments.js";
import { readSettings } from "../settings.js";
import { readConfigFile } from "./config-file.js";
import { configFilesFor } from "./config-paths.js";
import { valuesOfEnvironment } from "./environment.js";
import { settingSpecs } from "./setting.js";

/** Where a value was set; a default was set nowhere. */
export type Origin =
  | { readonly from: "file"; readonly path: string; readonly line: number }
  | { readonly from: "environment"; readonly variable: string }
  | { readonly from: "option" };

export interface ConfiguredValue {
  readonly name: string;
  readonly value: OptionValue;
  readonly origin: Origin;
}

/** What files, environment and options say together: the last to speak of a setting has it. */
export interface Configuration {
  /** Where files were looked for, in the order in which they count. */
  readonly files: readonly { readonly path: string; readonly isThere: boolean }[];
  readonly values: ReadonlyMap<string, ConfiguredValue>;
  /** The same as if all had been said on the command line. */
  readonly arguments: Arguments;
}

/** Throws USAGE for a file that cannot be read, what it has that is no setting, and a value that makes no sense. */
export async function configure(options: Arguments, environment: NodeJS.ProcessEnv): Promise<Configuration> {
  const named = options.value("config") ?? (environment["BPFCACHE_CONFIG"] || undefined);
  const files: { path: string; isThere: boolean }[] = [];
  const values = new Map<string, ConfiguredValue>();
  const add = (value: ConfiguredValue): void => {
    requireSense(value);
    values.set(value.name, value);
  };
  for (const path of configFilesFor(named, environment)) {
    const found = await readConfigFile(path);
    if (found === undefined && path === named)
      throw new BpfcacheError("USAGE", `there is no configuration file ${path}`);
    files.push({ path, isThere: found !== undefined });
    for (const value of found ?? []) add(value);
  }
  for (const value of valuesOfEnvironment(environment)) add(value);
  for (const { name } of settingSpecs) {
    const value = options.given[name];
    if (value !== undefined) values.set(name, { name, value, origin: { from: "option" } });
  }
  const configured = Object.fromEntries([...values.values()].map(({ name, value }) => [name, value]));
  return { files, values, arguments: new Arguments({ ...configured, ...options.given }) };
}

export function describeOrigin(origin: Origin): string {
  if (origin.from === "file") return `${origin.path}, line ${origin.line}`;
  return origin.from === "environment" ? origin.variable : "option";
}

/** Each value by itself, so that the message can say where it stands. */
function requireSense({ name, value, origin }: ConfiguredValue): void {
  try {
    const { platforms, allPlatforms } = readSettings(new Arguments({ [name]: value }), {});
    if (allPlatforms || platforms.length > 1)
      throw new BpfcacheError("USAGE", "the platform of all verbs is one, and only an option names more");
  } catch (thrown) {
    const { code, message, hint } = toBpfcacheError(thrown);
    throw new BpfcacheError(code, `${describeOrigin(origin)}: ${message}`, { hint, cause: thrown });
  }
}
