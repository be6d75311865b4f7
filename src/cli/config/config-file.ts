import { readFile } from "node:fs/promises";
import type { TomlTable } from "smol-toml";
import { BpfcacheError } from "../../core/errors.js";
import type { OptionValue } from "../arguments.js";
import { nearest } from "../help/nearest.js";
import type { GlobalOptionSpec } from "../verb.js";
import type { ConfiguredValue } from "./configuration.js";
import { settingSpecs } from "./setting.js";

/** The settings in a file, or undefined when there is none. Throws USAGE, naming the line. */
export async function readConfigFile(path: string): Promise<readonly ConfiguredValue[] | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  // Most commands have no such file, and need no parser.
  const [{ parse, TomlError }, { lineOf }] = await Promise.all([
    import("smol-toml"),
    import("./toml-line.js"),
  ]);
  try {
    return settingsOf(parse(text), (key) => ({ from: "file", path, line: lineOf(key, text) }));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ""] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new BpfcacheError("USAGE", `${path}, line ${error.line}: ${reason}`, { cause: error });
  }
}

type Place = Extract<ConfiguredValue["origin"], { from: "file" }>;

function settingsOf(table: TomlTable, placeOf: (key: readonly string[]) => Place): ConfiguredValue[] {
  return keysOf(table).map(({ key, value }) => {
    const name = key.join(".");
    const origin = placeOf(key);
    const spec = settingSpecs.find((each) => each.name === name);
    if (spec === undefined) throw unknownSetting(name, origin);
    return { name, value: requireType(spec, value, origin), origin };
  });
}

/** A table is settings of its name and a dot. */
function keysOf(table: TomlTable): { key: string[]; value: unknown }[] {
  return Object.entries(table).flatMap(([name, value]) => {
    const isTable = typeof value === "object" && !Array.isArray(value) && !(value instanceof Date);
    if (!isTable) return [{ key: [name], value }];
    const inner = keysOf(value).map((each) => ({ key: [name, ...each.key], value: each.value }));
    return inner.length > 0 || name === "limits" ? inner : [{ key: [name], value }];
  });
}

function unknownSetting(name: string, { path, line }: Place): BpfcacheError {
  const names = settingSpecs.map((spec) => spec.name);
  const meant = nearest(name.replaceAll("_", "-"), names);
  return new BpfcacheError("USAGE", `${path}, line ${line}: there is no setting ${JSON.stringify(name)}`, {
    hint: meant === undefined ? "bpfcache help config lists them." : `Did you mean ${meant}?`,
  });
}

/** As it would be on the command line: numbers may be written with or without quotes. */
function requireType(spec: GlobalOptionSpec, value: unknown, { path, line }: Place): OptionValue {
  const isText = typeof value === "string" || typeof value === "number" || typeof value === "bigint";
  if (spec.value === undefined && typeof value === "boolean") return value;
  if (spec.multiple === true && Array.isArray(value) && value.every((each) => typeof each === "string"))
    return value;
  if (spec.value !== undefined && isText) return spec.multiple === true ? [String(value)] : String(value);
  const wanted =
    spec.value === undefined ? "true or false" : spec.multiple === true ? "a list of strings" : "a string";
  throw new BpfcacheError("USAGE", `${path}, line ${line}: ${spec.name} takes ${wanted}`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new BpfcacheError("USAGE", `the configuration file ${path} cannot be read`, { cause });
  }
}
