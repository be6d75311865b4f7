import type { Digest } from "../core/digest.js";
import type { KernelLink } from "./kernel-link.js";
import type { KernelProgram } from "./kernel-program.js";
import type { ProgramLocation } from "./location.js";
import type { ProgramData, ProgramState } from "./program-data.js";

/** A program as the kernel knows it: what is shown of those that were not loaded through this cache. */
export interface UnmanagedProgram {
  readonly id: number;
  /** The kernel's, of at most 15 characters. */
  readonly name: string;
  readonly type: string;
  readonly tag: string;
  /** ISO 8601. */
  readonly loadedAt: string;
}

/** A program that was loaded through this cache: the JSON document `program`. */
export interface ManagedProgram extends UnmanagedProgram {
  readonly state: ProgramState;
  /** The function's, in full. */
  readonly name: string;
  readonly kernelName: string;
  /** Null for a program from a file. */
  readonly reference: string | null;
  readonly objectDigest: Digest | null;
  readonly location: ProgramLocation | null;
  readonly metadata: Readonly<Record<string, string>>;
  /** Values of global variables as they lie in memory, in hexadecimal. */
  readonly globalData: Readonly<Record<string, string>>;
  readonly mapIds: readonly number[];
  readonly mapOwner: number | null;
  readonly mapsUsedBy: readonly number[];
  readonly pin: string;
  readonly mapPinPath: string;
  readonly attachPoints: readonly string[];
  /** What attaches it now, by whomever. */
  readonly links: readonly KernelLink[];
  readonly gplCompatible: boolean;
  readonly btfId: number | null;
  readonly bytesTranslated: number;
  readonly jited: boolean;
  readonly bytesJited: number;
  readonly bytesMemlock: number;
  readonly verifiedInstructions: number | null;
  readonly bootId: string;
}

export function describeProgram(data: ProgramData): ManagedProgram {
  return data.atOnce(() => described(data));
}

function described(data: ProgramData): ManagedProgram {
  const { location, kernel } = data;
  return {
    id: data.id ?? 0,
    name: data.name,
    type: kernel?.type ?? "",
    state: data.state,
    tag: kernel?.tag ?? "",
    reference: location?.kind === "image" ? location.reference : null,
    objectDigest: location?.objectDigest ?? null,
    mapIds: kernel?.mapIds ?? [],
    pin: data.pin,
    loadedAt: isoTime(kernel),
    metadata: Object.fromEntries(data.metadata),
    location: location ?? null,
    globalData: Object.fromEntries(
      [...data.globalData].map(([name, value]) => [name, Buffer.from(value).toString("hex")]),
    ),
    mapOwner: data.mapOwner ?? null,
    mapsUsedBy: data.mapsUsedBy,
    mapPinPath: data.mapPinPath,
    attachPoints: data.attachPoints,
    links: data.links,
    kernelName: kernel?.name ?? "",
    gplCompatible: kernel?.isGplCompatible ?? false,
    btfId: kernel?.btfId ?? null,
    bytesTranslated: kernel?.bytesTranslated ?? 0,
    jited: kernel?.isJited ?? false,
    bytesJited: kernel?.bytesJited ?? 0,
    bytesMemlock: kernel?.bytesMemlock ?? 0,
    verifiedInstructions: kernel?.verifiedInstructions ?? null,
    bootId: data.bootId,
  };
}

export function describeUnmanaged(kernel: KernelProgram): UnmanagedProgram {
  const { id, name, type, tag } = kernel;
  return { id, name, type, tag, loadedAt: isoTime(kernel) };
}

function isoTime(kernel: KernelProgram | undefined): string {
  return new Date((kernel?.loadedAt ?? 0) * 1_000).toISOString();
}
