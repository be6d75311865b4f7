import type { Digest } from "../core/digest.js";
import { parseReference } from "../core/reference.js";
import type { BytecodeDescription } from "../store/bytecode.js";
import { type TrustExplanation, trustSentence } from "./explain-trust.js";
import { formatBytes } from "./output.js";

/** What is known of a read from the cache alone. */
export interface ReadFacts {
  /** As it was asked for. */
  readonly reference: string;
  readonly description: BytecodeDescription;
  /** Where and when the image came from; undefined where its record is damaged. */
  readonly origin:
    | { readonly source: string; readonly pulledAt: string; readonly checkedAt: string }
    | undefined;
  /** Objects of the image. */
  readonly objects: number;
  readonly object: string | undefined;
  readonly program: string | undefined;
  readonly globals: readonly string[];
  /** What the trust policy in force says; null when there is none. */
  readonly trust: TrustExplanation | null;
}

/** The key `explain` of `cat --json`. */
export interface ReadExplanation {
  readonly outcome: "hit";
  readonly reason: "name" | "digest";
  readonly verified: readonly { readonly digest: Digest; readonly bytes: number }[];
  readonly trust: TrustExplanation | null;
  readonly sentences: readonly string[];
}

export function explainRead(facts: ReadFacts): ReadExplanation {
  const { digest, size, platform, rootDigest } = facts.description;
  const isByDigest = parseReference(facts.reference).digest !== undefined;
  return {
    outcome: "hit",
    reason: isByDigest ? "digest" : "name",
    verified: [{ digest, bytes: size }],
    trust: facts.trust,
    sentences: [
      isByDigest
        ? `A hit: ${rootDigest} is here for ${platform}, whatever name it was taken in by.`
        : `A hit: the name is here for ${platform}, and means ${rootDigest}.`,
      ...(facts.origin === undefined ? [] : [originSentence(facts.origin)]),
      "Nobody was asked for anything: cat reads the cache.",
      trustSentence(facts.trust, undefined),
      choiceSentence(facts),
      `Its ${formatBytes(size)} were hashed before they were handed out, and are ${digest}.`,
      ...(facts.globals.length === 0
        ? []
        : [`Set in the copy that was handed out: ${facts.globals.join(", ")}.`]),
    ],
  };
}

function originSentence({ source, pulledAt, checkedAt }: NonNullable<ReadFacts["origin"]>): string {
  const checked = checkedAt === pulledAt ? "" : ` and last checked at ${checkedAt}`;
  return `It came from ${source} at ${pulledAt}${checked}.`;
}

function choiceSentence({ description: { name, platform }, objects, object, program }: ReadFacts): string {
  const wanted = [object && "--object", program && "--program"].filter(Boolean).join(" and ");
  if (wanted !== "") return `Of its ${objects} objects ${wanted} chose ${name}.`;
  if (objects === 1) return `Its one object is ${name}.`;
  return `Of its ${objects} objects ${name} is the one for ${platform}.`;
}

/** Why an image that is here is not handed out. */
export function explainRefusal(
  platform: string,
  rootDigest: Digest,
  trust: TrustExplanation,
): readonly string[] {
  return [
    `It is here for ${platform}, and means ${rootDigest}.`,
    trustSentence(trust, undefined),
    "Nobody was asked for anything: cat reads the cache.",
  ];
}

/** What is here that may have been meant, when nothing is under the name for the platform. */
export function explainAbsence(
  reference: string,
  platform: string,
  cached: readonly { readonly reference: string; readonly platform: string }[],
): readonly string[] {
  const wanted = parseReference(reference);
  const elsewhere = cached
    .filter((each) => each.reference === wanted.toString())
    .map((each) => each.platform);
  const siblings = cached
    .map((each) => each.reference)
    .filter((each) => each !== wanted.toString() && parseReference(each).name === wanted.name);
  return [
    `A miss: nothing is here under ${wanted} for ${platform}, and cat asks nobody.`,
    ...(elsewhere.length === 0 ? [] : [`It is here for ${elsewhere.join(", ")}.`]),
    ...(siblings.length === 0 ? [] : [`Of its repository there is ${[...new Set(siblings)].join(", ")}.`]),
  ];
}
