import type { Environment } from "../environment.js";
import { holdersOf, referencesTo } from "../holders.js";
import { readReferenceKey } from "../keys.js";
import { isLost } from "../lost.js";
import { contentKindOf } from "../quarantine.js";
import type { TreeName } from "../trees.js";
import { pinnedReference } from "../usage.js";
import type { Fault, RowCheck } from "./fault.js";
import { digestIn } from "./well-formed.js";

/** One thing that was wrong. */
export interface ScrubFinding {
  readonly tree: TreeName;
  /** The digest or the reference that the row is about; its key in hex where it is neither. */
  readonly name: string;
  readonly reason: string;
  /** The references that need it, with their platforms. */
  readonly references: readonly string[];
}

interface Noted {
  readonly finding: ScrubFinding;
  /** Keys of references, in hex. */
  readonly needs: readonly string[];
}

/** More faults than this in one row are no faults of the row. */
const mendsOfOneRow = 1_000;

/** Rows in which something seemed wrong: each is judged once more, mended if that is wanted, and noted. */
export class Suspects {
  readonly #environment: Environment;
  readonly #mends: boolean;
  readonly #noted: Noted[] = [];
  readonly #rows = new Set<string>();
  readonly #affected = new Set<string>();
  /** Keys of references that had to go, in hex, and why. */
  readonly #lost = new Map<string, string>();

  constructor(environment: Environment, mends: boolean) {
    this.#environment = environment;
    this.#mends = mends;
  }

  get count(): number {
    return this.#noted.length;
  }

  settle(check: RowCheck, key: Buffer): void {
    const judge = (): void => {
      const fault = check.faultOf(this.#environment, key);
      if (fault === undefined) return; // It was a moment of somebody else's work.
      this.#note(check.tree, key, fault);
      if (this.#mends) this.#mend(check, key, fault);
      if (check.tree === "refs" && isLost(this.#environment, key)) this.lose(key, fault.reason);
    };
    if (this.#mends) this.#environment.commit(judge);
    else this.#environment.snapshot(judge);
  }

  /** The reference was removed because it could not be made whole. */
  lose(key: Buffer, reason: string): void {
    this.#lost.set(key.toString("hex"), reason);
  }

  outcome(): { readonly damaged: ScrubFinding[]; readonly repaired: ScrubFinding[] } {
    const damaged: ScrubFinding[] = [];
    const repaired: ScrubFinding[] = [];
    for (const { finding, needs } of this.#noted) {
      const lost = needs.find((key) => this.#lost.has(key));
      if (this.#mends && lost === undefined) repaired.push(finding);
      else if (lost === undefined) damaged.push(finding);
      else {
        const reason = `${finding.reason}; what needs it was removed, to be prefetched again: ${this.#lost.get(lost)}`;
        damaged.push({ ...finding, reason });
      }
    }
    return { damaged, repaired };
  }

  #mend(check: RowCheck, key: Buffer, first: Fault): void {
    let fault: Fault | undefined = first;
    for (let i = 0; fault !== undefined && i < mendsOfOneRow; i++) {
      fault.mend();
      fault = check.faultOf(this.#environment, key);
      // Only bringing it back ends this one.
      if (fault?.reason === first.reason) return;
    }
  }

  #note(tree: TreeName, key: Buffer, { reason }: Fault): void {
    const needs = referencesNeeding(this.#environment, tree, key);
    const hex = needs.map((need) => need.toString("hex"));
    // An image without its parts is what it comes to when a part was found damaged before.
    const isConsequence = tree === "refs" && this.#affected.has(key.toString("hex"));
    for (const need of hex) this.#affected.add(need);
    // Some rows are looked at twice.
    const row = `${tree} ${key.toString("hex")}`;
    if (isConsequence || this.#rows.has(row)) return;
    this.#rows.add(row);
    const references = needs.map((need) => {
      const { reference = "(a long name)", platform } = readReferenceKey(need);
      return `${reference} ${platform}`;
    });
    const finding = { tree, name: nameOf(tree, key), reason, references };
    this.#noted.push({ finding, needs: hex });
  }
}

/** Keys of the references that cannot be whole without the row. */
function referencesNeeding(environment: Environment, tree: TreeName, key: Buffer): Buffer[] {
  if (tree === "refs") return [key];
  const kind = tree === "objectInfo" ? "object" : tree === "images" ? "manifest" : contentKindOf(tree);
  const digest = digestIn(key);
  if (kind === undefined || digest === undefined) return [];
  if (kind === "manifest") return referencesTo(environment, digest);
  const holders = holdersOf(environment, kind, digest);
  return uniqueKeys(holders.flatMap((manifest) => referencesNeeding(environment, "manifests", manifest)));
}

function uniqueKeys(keys: readonly Buffer[]): Buffer[] {
  return [...new Map(keys.map((key) => [key.toString("hex"), key])).values()];
}

function nameOf(tree: TreeName, key: Buffer): string {
  if (tree === "refs") return readReferenceKey(key).reference ?? key.toString("hex");
  return pinnedReference(key) ?? digestIn(key) ?? key.toString("hex");
}
