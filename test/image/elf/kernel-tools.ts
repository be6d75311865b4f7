import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

function json(command: string, ...args: readonly string[]): unknown {
  return JSON.parse(
    execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      maxBuffer: 1 << 26,
    }),
  );
}

export interface ReadelfSymbol {
  readonly name: string;
  readonly type: string;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
}

interface ReadelfOutput {
  readonly Symbols: readonly {
    readonly Symbol: {
      readonly Name: { readonly Value: string };
      readonly Value: number;
      readonly Size: number;
      readonly Type: { readonly Value: string };
      readonly Section: { readonly Value: string };
    };
  }[];
}

/** What llvm-readelf says of an object's symbols. */
export function readelfSymbols(path: string): readonly ReadelfSymbol[] {
  const [file] = json("llvm-readelf", "--elf-output-style=JSON", "-s", path) as Record<
    string,
    ReadelfOutput
  >[];
  const [output = { Symbols: [] }] = Object.values(file ?? {});
  return output.Symbols.map(({ Symbol: { Name, Value, Size, Type, Section } }) => ({
    name: Name.Value,
    type: Type.Value,
    section: Section.Value,
    offset: Value,
    size: Size,
  }));
}

/** What llvm-readelf finds in the section `license`. */
export function readelfLicense(path: string): string | undefined {
  const text = execFileSync("llvm-readelf", ["-p", "license", path], { encoding: "utf8" });
  return /^\[ *0\] (.*)$/m.exec(text)?.[1];
}

interface BtfDumpType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly type_id?: number;
  readonly nr_elems?: number;
  readonly members?: readonly { readonly name: string; readonly type_id: number }[];
  readonly vars?: readonly { readonly type_id: number; readonly size: number }[];
}

export interface DumpedVariable {
  readonly section: string;
  readonly name: string;
  readonly size: number;
}

export interface DumpedMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** What `bpftool btf dump` makes of an object's BTF: another reader's view, of which this follows the ids only. */
export class BtfDump {
  readonly #types: ReadonlyMap<number, BtfDumpType>;

  constructor(path: string) {
    const { types } = json("bpftool", "-j", "btf", "dump", "file", path) as { types: readonly BtfDumpType[] };
    this.#types = new Map(types.map((type) => [type.id, type]));
  }

  /** Of all data sections. */
  get variables(): readonly DumpedVariable[] {
    return [...this.#types.values()]
      .filter(({ kind }) => kind === "DATASEC")
      .flatMap(({ name: section, vars = [] }) =>
        vars.map(({ type_id }) => {
          const { name, type_id: type = 0 } = this.#type(type_id);
          return { section, name, size: this.#sizeOf(type) };
        }),
      );
  }

  get maps(): readonly DumpedMap[] {
    const section = [...this.#types.values()].find(
      ({ kind, name }) => kind === "DATASEC" && name === ".maps",
    );
    return (section?.vars ?? []).map(({ type_id }) => this.#map(this.#type(type_id)));
  }

  #map({ name, type_id = 0 }: BtfDumpType): DumpedMap {
    const fields = new Map(this.#resolve(type_id).members?.map((member) => [member.name, member.type_id]));
    const target = (field: string): number | undefined => {
      const pointer = fields.get(field);
      return pointer === undefined ? undefined : this.#resolve(pointer).type_id;
    };
    const number = (field: string): number => this.#type(target(field) ?? 0).nr_elems ?? 0;
    const size = (field: string): number => this.#sizeOf(target(field) ?? 0);
    return {
      name,
      type: number("type"),
      keySize: size("key") || number("key_size"),
      valueSize: size("value") || number("value_size") || (fields.has("values") ? 4 : 0),
      maxEntries: number("max_entries"),
      flags: number("map_flags"),
    };
  }

  #type(id: number): BtfDumpType {
    return this.#types.get(id) ?? { id: 0, kind: "VOID", name: "void", size: 0 };
  }

  #resolve(id: number): BtfDumpType {
    const type = this.#type(id);
    const isModifier = ["TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"].includes(type.kind);
    return isModifier ? this.#resolve(type.type_id ?? 0) : type;
  }

  #sizeOf(id: number): number {
    const type = this.#resolve(id);
    if (type.kind === "PTR") return 8;
    if (type.kind === "ARRAY") return (type.nr_elems ?? 0) * this.#sizeOf(type.type_id ?? 0);
    return type.size ?? 0;
  }
}

export interface KernelProgram {
  /** In full: the pin has it, the kernel itself keeps 15 characters. */
  readonly name: string;
  readonly type: string;
  readonly gpl_compatible: boolean;
}

export interface KernelMap {
  readonly name: string;
  readonly type: string;
  readonly flags: number;
  readonly bytes_key: number;
  readonly bytes_value: number;
  readonly max_entries: number;
}

/** Variables of a data section by name, as the kernel prints them by the BTF it was given. */
export type KernelVariables = Readonly<Record<string, unknown>>;

const root = `/sys/fs/bpf/bpfcache-test-${process.pid}`;
let loads = 0;

/** What is pinned there by this process. */
export function pinsLeft(): readonly string[] {
  return readdirSync("/sys/fs/bpf").filter((name) => root.endsWith(`/${name}`));
}

/** An object in the kernel, by way of bpftool and libbpf; its pins, and so all of it, go when it is disposed of. */
export class LoadedObject {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Returns what stderr says when it cannot be loaded. */
  static load(path: string): LoadedObject | string {
    const directory = join(root, String(loads++));
    mkdirSync(directory, { recursive: true });
    const loaded = new LoadedObject(directory);
    const { status, stderr } = spawnSync(
      "bpftool",
      ["prog", "loadall", path, loaded.#path("programs"), "pinmaps", loaded.#path("maps")],
      { encoding: "utf8" },
    );
    if (status === 0) return loaded;
    loaded[Symbol.dispose]();
    return stderr;
  }

  /** The same, where it must work. */
  static mustLoad(path: string): LoadedObject {
    const loaded = LoadedObject.load(path);
    if (typeof loaded === "string") throw new Error(loaded);
    return loaded;
  }

  get programs(): readonly KernelProgram[] {
    return this.#pins("programs").map((name) => ({
      ...(json("bpftool", "-j", "prog", "show", "pinned", this.#path(`programs/${name}`)) as KernelProgram),
      name,
    }));
  }

  /** Those of global variables have the file's name in front of the section's. */
  get maps(): readonly KernelMap[] {
    return this.#pins("maps").map(
      (name) => json("bpftool", "-j", "map", "show", "pinned", this.#path(`maps/${name}`)) as KernelMap,
    );
  }

  /** The variables in the map of a data section; undefined without BTF. */
  variables(section: string): KernelVariables | undefined {
    const pin = this.#pins("maps").find((name) => name.endsWith(section.replaceAll(".", "_")));
    const [entry] = json("bpftool", "-j", "map", "dump", "pinned", this.#path(`maps/${pin}`)) as {
      formatted?: { value: Record<string, readonly KernelVariables[]> };
    }[];
    const variables = entry?.formatted?.value[section];
    return variables && Object.assign({}, ...variables);
  }

  /** The value of `key` in a map, as the kernel prints it. */
  lookup(map: string, key: readonly number[]): unknown {
    const found = json(
      "bpftool",
      "-j",
      "map",
      "lookup",
      "pinned",
      this.#path(`maps/${map}`),
      "key",
      ...key.map(String),
    ) as { formatted?: { value: unknown } };
    return found.formatted?.value;
  }

  /** What the program returns when it is run once with the packet in this file. */
  run(program: string, packet: string): number {
    const pin = this.#path(`programs/${program}`);
    const args = ["-j", "prog", "run", "pinned", pin, "data_in", packet, "repeat", "1"];
    return (json("bpftool", ...args) as { retval: number }).retval;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
    if (readdirSync(root).length === 0) rmSync(root, { recursive: true });
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  #pins(kind: "programs" | "maps"): readonly string[] {
    const directory = this.#path(kind);
    return existsSync(directory) ? readdirSync(directory).sort() : [];
  }
}
