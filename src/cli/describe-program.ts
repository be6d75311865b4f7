import type { ManagedProgram, ProgramList } from "../index.js";
import { formatAge, plural, printable } from "./output.js";
import { table } from "./terminal/table.js";

const columns = ["ID", "NAME", "TYPE", "STATE", "LOADED", "FROM"];

/** As a table, for what was just loaded. */
export function describeAll(programs: readonly ManagedProgram[]): string {
  return table([columns, ...programs.map(rowOf)]);
}

export function describeList({ programs, unmanaged, archived }: ProgramList): string {
  const foreign = unmanaged.map(({ id, name, type, loadedAt }) => [
    String(id),
    printable(name),
    type,
    "unmanaged",
    formatAge(loadedAt),
    "",
  ]);
  const earlier =
    archived.length === 0
      ? ""
      : `${plural(archived.length, "program")} of earlier boots: --json shows them\n`;
  if (programs.length + foreign.length === 0) return `no program is loaded\n${earlier}`;
  return `${table([columns, ...programs.map(rowOf), ...foreign])}${earlier}`;
}

function rowOf(program: ManagedProgram): readonly string[] {
  const { id, name, type, state, loadedAt } = program;
  return [String(id), printable(name), type, state, formatAge(loadedAt), printable(originOf(program))];
}

function originOf({ reference, location }: ManagedProgram): string {
  return reference ?? (location?.kind === "file" ? location.path : "");
}

/** All that is known, a line each. */
export function describeProgramFully(program: ManagedProgram): string {
  const { location, metadata, globalData } = program;
  const rows: (readonly [string, string | null])[] = [
    ["id", String(program.id)],
    ["name", program.name],
    ["type", program.type],
    ["state", program.state],
    ["tag", program.tag],
    ["from", originOf(program)],
    ["root digest", location?.kind === "image" ? location.rootDigest : null],
    ["manifest digest", location?.kind === "image" ? location.manifestDigest : null],
    ["layer digest", location?.kind === "image" ? location.layerDigest : null],
    ["object digest", program.objectDigest],
    ["loaded at", program.loadedAt],
    ["pin", program.pin],
    ["map pins", program.mapPinPath],
    ["map ids", program.mapIds.join(", ")],
    ["map owner", program.mapOwner === null ? null : String(program.mapOwner)],
    ["maps used by", program.mapsUsedBy.join(", ")],
    ["attach points", program.attachPoints.join(", ")],
    [
      "links",
      program.links.map(({ id, type, target }) => `${[type, target].join(" ").trim()} (${id})`).join(", "),
    ],
    ["GPL compatible", program.gplCompatible ? "yes" : "no"],
    ["BTF id", program.btfId === null ? null : String(program.btfId)],
    ["translated", `${program.bytesTranslated} B`],
    ["jited", program.jited ? `${program.bytesJited} B` : "no"],
    ["memory", `${program.bytesMemlock} B`],
    [
      "verified",
      program.verifiedInstructions === null ? null : plural(program.verifiedInstructions, "instruction"),
    ],
    ...Object.entries(metadata).map(([key, value]) => [`metadata ${key}`, value] as const),
    ...Object.entries(globalData).map(([name, value]) => [`global ${name}`, value] as const),
  ];
  return table(rows.flatMap(([label, value]) => (value ? [[printable(label), printable(value)]] : [])));
}
