import type { KeyRange } from "../store/key-range.js";
import { bytes, Fields, flag, text, uint32, uint64 } from "./fields.js";
import type { KernelLink } from "./kernel-link.js";
import type { KernelProgram } from "./kernel-program.js";
import type { ProgramLocation } from "./location.js";

/**
 * `loaded`: the kernel has it. `unloading`: its pins are being taken away. `gone`: it ended without being unloaded
 * here. `archived`: it was of an earlier boot.
 */
export type ProgramState = "loaded" | "unloading" | "gone" | "archived";

/**
 * All that is known of one program, in a tree of its own: of no kernel id until the kernel has given it one. Nothing is
 * held in memory; every read is of what is in the database, and every write is there when it returns. The bytecode is
 * not in it: the location has the object's digest, and the store its bytes.
 */
export class ProgramData {
  /** Undefined before the load. */
  readonly id: number | undefined;
  readonly #fields: Fields;

  constructor(range: KeyRange, id?: number) {
    this.id = id;
    this.#fields = new Fields(range);
  }

  /** Runs `read`, which reads most of the fields, on the rows of one scan. */
  atOnce<T>(read: () => T): T {
    return this.#fields.atOnce(read);
  }

  /** The function's, in full. */
  get name(): string {
    return this.#fields.get("name", text) ?? "";
  }
  set name(name: string) {
    this.#fields.set("name", text, name);
  }

  get state(): ProgramState {
    return (this.#fields.get("state", text) as ProgramState | undefined) ?? "gone";
  }
  set state(state: ProgramState) {
    this.#fields.set("state", text, state);
  }

  /** The boot that it was loaded in. */
  get bootId(): string {
    return this.#fields.get("bootId", text) ?? "";
  }
  set bootId(bootId: string) {
    this.#fields.set("bootId", text, bootId);
  }

  /** Programs that were loaded together have this in common. */
  get loadId(): string {
    return this.#fields.get("loadId", text) ?? "";
  }
  set loadId(loadId: string) {
    this.#fields.set("loadId", text, loadId);
  }

  get location(): ProgramLocation | undefined {
    const parts = this.#fields.map("location", text);
    return parts.size === 0 ? undefined : (Object.fromEntries(parts) as unknown as ProgramLocation);
  }
  set location(location: ProgramLocation | undefined) {
    this.#fields.setMap("location", text, new Map(Object.entries(location ?? {})));
  }

  /** What whoever loaded it wants to be known of it. */
  get metadata(): ReadonlyMap<string, string> {
    return this.#fields.map("metadata", text);
  }
  set metadata(metadata: ReadonlyMap<string, string>) {
    this.#fields.setMap("metadata", text, metadata);
  }

  /** The values of global variables that it was loaded with, as they lie in memory. */
  get globalData(): ReadonlyMap<string, Uint8Array> {
    return this.#fields.map("globalData", bytes);
  }
  set globalData(globals: ReadonlyMap<string, Uint8Array>) {
    this.#fields.setMap("globalData", bytes, globals);
  }

  /** The program whose maps it uses. */
  get mapOwner(): number | undefined {
    return this.#fields.get("mapOwner", uint32);
  }
  set mapOwner(id: number | undefined) {
    this.#fields.set("mapOwner", uint32, id);
  }

  /** The programs, this one too, that use the maps that it owns. */
  get mapsUsedBy(): readonly number[] {
    return this.#fields.vector("mapsUsedBy", uint32);
  }
  set mapsUsedBy(ids: readonly number[]) {
    this.#fields.setVector("mapsUsedBy", uint32, ids);
  }

  /** Where it is pinned. */
  get pin(): string {
    return this.#fields.get("pin", text) ?? "";
  }
  set pin(path: string) {
    this.#fields.set("pin", text, path);
  }

  /** The directory of all pins of its load. */
  get directory(): string {
    return this.#fields.get("directory", text) ?? "";
  }
  set directory(path: string) {
    this.#fields.set("directory", text, path);
  }

  /** The directory that its maps are pinned in. */
  get mapPinPath(): string {
    return this.#fields.get("mapPinPath", text) ?? "";
  }
  set mapPinPath(path: string) {
    this.#fields.set("mapPinPath", text, path);
  }

  /** What its section's name says that it is for: a kernel function, a tracepoint, a direction. */
  get attachPoints(): readonly string[] {
    return this.#fields.vector("attachPoints", text);
  }
  set attachPoints(points: readonly string[]) {
    this.#fields.setVector("attachPoints", text, points);
  }

  /** In the kernel when it was last looked at: bpfcache makes none. */
  get links(): readonly KernelLink[] {
    return this.#fields.vector("links", text).map((row) => JSON.parse(row) as KernelLink);
  }
  set links(links: readonly KernelLink[]) {
    this.#fields.setVector(
      "links",
      text,
      links.map((link) => JSON.stringify(link)),
    );
  }

  get kernel(): KernelProgram | undefined {
    const fields = this.#fields;
    const id = fields.get("kernel.id", uint32);
    if (id === undefined) return undefined;
    return {
      id,
      name: fields.get("kernel.name", text) ?? "",
      type: fields.get("kernel.type", text) ?? "",
      tag: fields.get("kernel.tag", text) ?? "",
      loadedAt: fields.get("kernel.loadedAt", uint64) ?? 0,
      isGplCompatible: fields.get("kernel.isGplCompatible", flag) ?? false,
      btfId: fields.get("kernel.btfId", uint32),
      bytesTranslated: fields.get("kernel.bytesTranslated", uint32) ?? 0,
      isJited: fields.get("kernel.isJited", flag) ?? false,
      bytesJited: fields.get("kernel.bytesJited", uint32) ?? 0,
      bytesMemlock: fields.get("kernel.bytesMemlock", uint64) ?? 0,
      mapIds: fields.vector("kernel.mapIds", uint32),
      verifiedInstructions: fields.get("kernel.verifiedInstructions", uint32),
    };
  }
  set kernel(kernel: KernelProgram | undefined) {
    const fields = this.#fields;
    fields.set("kernel.id", uint32, kernel?.id);
    fields.set("kernel.name", text, kernel?.name);
    fields.set("kernel.type", text, kernel?.type);
    fields.set("kernel.tag", text, kernel?.tag);
    fields.set("kernel.loadedAt", uint64, kernel?.loadedAt);
    fields.set("kernel.isGplCompatible", flag, kernel?.isGplCompatible);
    fields.set("kernel.btfId", uint32, kernel?.btfId);
    fields.set("kernel.bytesTranslated", uint32, kernel?.bytesTranslated);
    fields.set("kernel.isJited", flag, kernel?.isJited);
    fields.set("kernel.bytesJited", uint32, kernel?.bytesJited);
    fields.set("kernel.bytesMemlock", uint64, kernel?.bytesMemlock);
    fields.setVector("kernel.mapIds", uint32, kernel?.mapIds ?? []);
    fields.set("kernel.verifiedInstructions", uint32, kernel?.verifiedInstructions);
  }
}
