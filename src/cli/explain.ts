import type { CacheEvent, EventSink, HitReason, MissReason, RequestRole } from "../core/events.js";
import { explainTrust, type TrustExplanation, trustSentence } from "./explain-trust.js";
import { formatBytes, plural, printable } from "./output.js";

/** Why an image was had the way it was: the key `explain` of the JSON documents. */
export interface Explanation {
  /**
   * `hit` the cache answered; `unchanged` the source confirmed what is here; `relinked` only the name was new;
   * `fetched` content came; `failed` none of them.
   */
  readonly outcome: "hit" | "unchanged" | "relinked" | "fetched" | "failed";
  readonly reason: HitReason | MissReason | null;
  /** What was asked of whom, each host in each role once. */
  readonly asked: readonly Asked[];
  readonly reused: readonly { readonly kind: string; readonly digest: string; readonly bytes: number }[];
  readonly fetched: readonly Part[];
  /** Objects that were hashed. */
  readonly verified: readonly Part[];
  /** What the trust policy said; null when none was asked. */
  readonly trust: TrustExplanation | null;
  /** All of it in words. */
  readonly sentences: readonly string[];
}

interface Asked {
  readonly host: string;
  readonly role: RequestRole;
  /** HTTP statuses in order of the answers; 0 where none came. */
  readonly statuses: readonly number[];
  readonly bytes: number;
}

interface Part {
  readonly digest: string;
  readonly bytes: number;
}

/** Keeps what is worth explaining while a verb runs, and hands all on. */
export class Story {
  readonly #events: CacheEvent[] = [];

  constructor(private readonly next: EventSink) {}

  readonly onEvent: EventSink = (event) => {
    if (event.event !== "progress") this.#events.push(event);
    this.next(event);
  };

  /** The events of one image. */
  of(reference: string): readonly CacheEvent[] {
    return this.#events.filter((event) => "reference" in event && event.reference === reference);
  }

  /** The canonical references that anything happened to, in the order it did. */
  get references(): readonly string[] {
    return [
      ...new Set(this.#events.flatMap((event) => ("reference" in event ? (event.reference ?? []) : []))),
    ];
  }
}

/** What the events of one image say; `policyFile` is of the trust policy in force. */
export function explain(events: readonly CacheEvent[], policyFile?: string): Explanation {
  const decided = pick(events, "decided").at(-1);
  const fetched = pick(events, "fetched").map(part);
  const reused = pick(events, "reused").map(({ kind, digest, bytes }) => ({ kind, digest, bytes }));
  const facts = {
    outcome: outcomeOf(events),
    reason: pick(events, "hit").at(-1)?.reason ?? pick(events, "miss")[0]?.reason ?? null,
    asked: askedIn(pick(events, "request")),
    reused,
    fetched,
    verified: distinct(pick(events, "verified").map(part)),
    trust: decided === undefined ? null : explainTrust(decided, policyFile),
  };
  return { ...facts, sentences: sentencesOf(events, facts, policyFile) };
}

/** Lines for people: a heading, and what there is to say. */
export function describeExplanation(
  reference: string,
  { sentences }: Pick<Explanation, "sentences">,
): string {
  return [`${reference}\n`, ...sentences.map((sentence) => `  ${printable(sentence)}\n`)].join("");
}

type Facts = Omit<Explanation, "sentences">;

function sentencesOf(events: readonly CacheEvent[], facts: Facts, policyFile: string | undefined): string[] {
  return [
    ...pick(events, "miss").map(missSentence),
    ...pick(events, "waiting")
      .slice(0, 1)
      .map(() => "Another process was fetching it: this one waited for that."),
    ...pick(events, "hit").map(({ reason }) => hitSentences[reason]),
    ...(facts.asked.length === 0 ? [silence(facts)] : facts.asked.map(askedSentence)),
    ...pick(events, "retry").map(retrySentence),
    ...pick(events, "resolved").map(resolvedSentence),
    trustSentence(facts.trust, policyFile),
    ...reusedSentences(pick(events, "reused")),
    ...(facts.fetched.length === 0 ? [] : [fetchedSentence(facts.fetched)]),
    ...(facts.verified.length === 0 ? [] : [verifiedSentence(facts.verified)]),
    ...pick(events, "evicted").map(
      ({ reference, bytes }) => `Room was made: ${reference} was evicted, ${formatBytes(bytes)}.`,
    ),
    ...outcomeSentences(facts.outcome),
  ];
}

const hitSentences: Readonly<Record<HitReason, string>> = {
  fresh: "A hit: it is here, and IfNotPresent does not ask for what is.",
  digest: "A hit: it is here, and what a digest names never changes.",
  locked: "A hit: what is here is what the lock says.",
  never: "A hit: it is here, and nothing may be asked for.",
  shared: "A hit after all: another process has brought it meanwhile.",
};

const missSentences: Readonly<Record<MissReason, string>> = {
  absent: "A miss: it was not here.",
  policy: "It is here, and the policy Always asks whether it still means the same.",
  stale: "It is here, and was checked longer ago than --max-age allows.",
  damaged: "A miss: what was here is damaged, and is taken in again.",
  unapproved: "It is here, and the trust policy in force does not approve it with the signatures that are.",
  locked: "A miss: the lock says something else than what is here.",
  platforms: "Which platforms there are only its source knows: that was asked.",
};

function missSentence({ reason, checkedAt }: EventOf<"miss">): string {
  return checkedAt === undefined
    ? missSentences[reason]
    : `${missSentences[reason]} It was last checked at ${checkedAt}.`;
}

function silence({ outcome }: Facts): string {
  return outcome === "hit" || outcome === "relinked"
    ? "Nobody was asked for anything."
    : "No HTTP request was sent.";
}

const roles: Readonly<Record<RequestRole, string>> = {
  registry: "the registry",
  mirror: "the mirror",
  token: "the token service",
  redirect: "where that led,",
};

function askedSentence({ host, role, statuses, bytes }: Asked): string {
  const answers = statuses.map((status) => (status === 0 ? "no answer" : status)).join(", ");
  return `Asked ${roles[role]} ${host}: ${plural(statuses.length, "request")} (${answers}), ${formatBytes(bytes)}.`;
}

function retrySentence({ url, code, reason, delayMs }: EventOf<"retry">): string {
  if (code !== undefined) return `Passed over ${url}: ${reason}.`;
  return `Asked ${url} again after ${delayMs} ms: ${reason}.`;
}

function resolvedSentence({ digest, unchanged }: EventOf<"resolved">): string {
  return unchanged ? `It still means ${digest}.` : `It means ${digest}.`;
}

function reusedSentences(parts: readonly EventOf<"reused">[]): string[] {
  const from = { cache: "that were here", download: "that another image's download brought" };
  return (["cache", "download"] as const).flatMap((place) => {
    const reused = parts.filter((each) => each.from === place);
    if (reused.length === 0) return [];
    const kinds = [...new Set(reused.map(({ kind }) => kind))].map((kind) =>
      plural(reused.filter((each) => each.kind === kind).length, kind),
    );
    return [`Reused ${kinds.join(", ")} ${from[place]}: ${formatBytes(sum(reused))}.`];
  });
}

function fetchedSentence(parts: readonly Part[]): string {
  return `Fetched ${plural(parts.length, "part")}, ${formatBytes(sum(parts))}; size and digest of each were checked as it came.`;
}

function verifiedSentence(objects: readonly Part[]): string {
  const digests = objects.map(({ digest }) => digest).join(", ");
  return `Hashed ${plural(objects.length, "object")}, ${formatBytes(sum(objects))}, and found what is promised: ${digests}.`;
}

function outcomeSentences(outcome: Facts["outcome"]): string[] {
  if (outcome === "fetched") return ["All of it became readable at once, when all had been checked."];
  if (outcome === "relinked") return ["The image was here: only the name is new, or means it now."];
  if (outcome === "failed") return ["It failed; the cache is as it was before."];
  return [];
}

function outcomeOf(events: readonly CacheEvent[]): Facts["outcome"] {
  const isPublished = pick(events, "published").length > 0;
  if (isPublished)
    return pick(events, "reused").some(({ kind }) => kind === "image") ? "relinked" : "fetched";
  if (pick(events, "hit").length > 0) return "hit";
  const confirmed = pick(events, "resolved").some(({ unchanged }) => unchanged);
  return confirmed && pick(events, "verified").length > 0 ? "unchanged" : "failed";
}

function askedIn(requests: readonly EventOf<"request">[]): Asked[] {
  const asked = new Map<string, Asked>();
  for (const { url, role, status, bytes } of requests) {
    const { host } = new URL(url);
    const before = asked.get(`${role} ${host}`);
    asked.set(`${role} ${host}`, {
      host,
      role,
      statuses: [...(before?.statuses ?? []), status],
      bytes: (before?.bytes ?? 0) + bytes,
    });
  }
  return [...asked.values()];
}

type EventOf<K extends CacheEvent["event"]> = Extract<CacheEvent, { readonly event: K }>;

function pick<K extends CacheEvent["event"]>(events: readonly CacheEvent[], kind: K): EventOf<K>[] {
  return events.filter((event): event is EventOf<K> => event.event === kind);
}

function part({ digest, bytes }: Part): Part {
  return { digest, bytes };
}

/** An object may be in an image twice, and be hashed before and after. */
function distinct(parts: readonly Part[]): Part[] {
  return [...new Map(parts.map((each) => [each.digest, each])).values()];
}

function sum(parts: readonly { readonly bytes: number }[]): number {
  return parts.reduce((total, { bytes }) => total + bytes, 0);
}
