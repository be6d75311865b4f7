import { readFileSync } from "node:fs";
import { checkClosure } from "./check-closure.js";
import { fixture, run } from "./processes.js";

/** What a fresh process read, as `read-everything.js` prints it. */
export interface Contents {
  readonly images: readonly {
    readonly reference: string;
    readonly platform: string;
    readonly rootDigest: string;
    readonly pinned: boolean;
    readonly hasLayers: boolean;
    readonly objects: readonly { readonly named: string; readonly found: string }[];
  }[];
  readonly writable: readonly string[];
  /** How long a reader and a writer took to open it. */
  readonly openMs: readonly number[];
  /** How the fresh process failed. */
  readonly complaint?: string;
}

export async function readInFreshProcess(directory: string): Promise<Contents> {
  const { status, signal, stdout, stderr } = await run(process.execPath, [
    fixture("read-everything.js"),
    directory,
  ]);
  if (status === 0) return JSON.parse(stdout);
  return { images: [], writable: [], openMs: [], complaint: `${signal ?? status}: ${stderr}` };
}

/** Each reference with all that is to be seen of it, so that two states of one can be compared. */
export type State = ReadonlyMap<string, string>;

export function stateOf({ images }: Contents): State {
  const state = new Map<string, string>();
  for (const image of images) {
    const { reference, platform, rootDigest } = image;
    state.set(
      reference,
      `${state.get(reference) ?? ""}${[platform, rootDigest, ...conditionOf(image)].join(" ")};`,
    );
  }
  return state;
}

function conditionOf({ pinned, hasLayers, objects }: Contents["images"][number]): string[] {
  const isDamaged = objects.some(({ named, found }) => found !== named);
  return [pinned ? "pinned" : "", hasLayers ? "" : "without layers", isDamaged ? "damaged" : ""].filter(
    (word) => word !== "",
  );
}

/** What a cache may lack for a while without being unsound. */
export type Lack = "layers" | "soundness" | undefined;

/** What is wrong with the contents as such, whatever was asked for: nothing when a cache is as it should be. */
export function unsound(directory: string, contents: Contents, mayLack?: Lack): string[] {
  const { images, writable, complaint } = contents;
  if (complaint !== undefined) return [`unreadable: ${complaint}`];
  const faults = images.flatMap(({ reference, objects }) =>
    objects
      .filter(
        ({ named, found }) => named !== found && !(mayLack === "soundness" && found === "CACHE_CORRUPT"),
      )
      .map(({ named }) => `wrong bytes: ${reference} ${named}`),
  );
  if (writable.length !== images.length)
    faults.push(`unreadable: a reader lists ${images.length} images, a writer ${writable.length}`);
  if (mayLack === "soundness") return faults;
  const closure = checkClosure(directory, { mayLackLayers: mayLack === "layers" });
  return [...faults, ...closure.map((fault) => `half: ${fault}`)];
}

/**
 * What is neither as it was nor as it was to become, reference by reference, and what was acknowledged and is not as
 * it was to become.
 */
export function neitherOldNorNew(
  found: State,
  states: {
    readonly before: State;
    readonly after: State;
    readonly acknowledged?: ReadonlySet<string>;
    /** One that was damaged may be out of sight until it has been repaired. */
    readonly mayHide?: boolean;
  },
): string[] {
  const references = new Set([...found.keys(), ...states.before.keys(), ...states.after.keys()]);
  return [...references].flatMap((reference) => {
    const now = found.get(reference);
    const isHidden = states.mayHide === true && now === undefined;
    const isOld = now === states.before.get(reference) || isHidden;
    const isNew = now === states.after.get(reference);
    if (!isOld && !isNew) return [`neither old nor new: ${reference} is ${now}`];
    if (!isNew && states.acknowledged?.has(reference)) return [`lost: ${reference} was acknowledged`];
    return [];
  });
}

/** The references that a process wrote down as done; what it was writing when it died does not count. */
export function acknowledgedIn(file: string): Set<string> {
  return new Set(linesOf(file));
}

/** The whole lines of a file that a process appended to until it died. */
export function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").slice(0, -1);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
