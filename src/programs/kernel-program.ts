/** What the kernel says of a loaded program (struct bpf_prog_info; `bpftool -j prog show`). */
export interface KernelProgram {
  readonly id: number;
  /** The first 15 characters of the function's name. */
  readonly name: string;
  /** xdp, sched_cls, kprobe, … */
  readonly type: string;
  /** A hash of the instructions, in hexadecimal. */
  readonly tag: string;
  /** Seconds since 1970. */
  readonly loadedAt: number;
  readonly isGplCompatible: boolean;
  readonly btfId: number | undefined;
  /** Of the instructions as the verifier left them. */
  readonly bytesTranslated: number;
  readonly isJited: boolean;
  readonly bytesJited: number;
  readonly bytesMemlock: number;
  readonly mapIds: readonly number[];
  /** Instructions that the verifier went through; undefined where it cannot be read. */
  readonly verifiedInstructions: number | undefined;
}

/** Whether both are one program: an id alone could have been given out anew. */
export function isSameProgram(a: KernelProgram, b: KernelProgram): boolean {
  // The kernel keeps when it was loaded since boot; against the clock of the day that may be off by one.
  const isSameTime = Math.abs(a.loadedAt - b.loadedAt) <= clockToleranceSeconds;
  return a.id === b.id && a.tag === b.tag && a.name === b.name && a.type === b.type && isSameTime;
}

/** Also what a clock that is set may move; ids of one boot only rise, so this is the weakest of the signs. */
const clockToleranceSeconds = 5;

/** As `bpftool -j prog show` prints it. */
export interface PrintedProgram {
  readonly id: number;
  readonly type: string;
  readonly name?: string;
  readonly tag: string;
  readonly gpl_compatible?: boolean;
  readonly loaded_at?: number;
  readonly bytes_xlated: number;
  readonly jited: boolean;
  readonly bytes_jited?: number;
  readonly bytes_memlock?: number | string;
  readonly map_ids?: readonly number[];
  readonly btf_id?: number;
}

export function kernelProgramOf(printed: PrintedProgram, verifiedInstructions?: number): KernelProgram {
  return {
    id: printed.id,
    name: printed.name ?? "",
    type: printed.type,
    tag: printed.tag,
    loadedAt: printed.loaded_at ?? 0,
    isGplCompatible: printed.gpl_compatible ?? false,
    btfId: printed.btf_id,
    bytesTranslated: printed.bytes_xlated,
    isJited: printed.jited,
    bytesJited: printed.bytes_jited ?? 0,
    bytesMemlock: Number(printed.bytes_memlock ?? 0),
    mapIds: printed.map_ids ?? [],
    verifiedInstructions,
  };
}
