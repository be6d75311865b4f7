import type { Answer } from "./answer.js";

/**
 * The part of a whole answer that a Range header asks for (RFC 9110 §14): 206 with that part, 416 when it lies beyond
 * the end. A header that asks for several parts, in other units or makes no sense is ignored, as the RFC allows; so is
 * one whose If-Range names other content.
 */
export function partOf(whole: Answer, range: string | undefined, ifRange: string | undefined): Answer {
  const { body, headers } = whole;
  const ranged = { ...headers, "accept-ranges": "bytes" };
  const wanted = parseRange(range, body.length);
  if (wanted === undefined || (ifRange !== undefined && ifRange !== headers["etag"])) {
    return { ...whole, headers: ranged };
  }
  if (wanted === "beyond") {
    const empty = { ...ranged, "content-range": `bytes */${body.length}`, "content-length": 0 };
    return { status: 416, headers: empty, body: body.subarray(0, 0) };
  }
  const { first, last } = wanted;
  const part = body.subarray(first, last + 1);
  return {
    status: 206,
    headers: {
      ...ranged,
      "content-range": `bytes ${first}-${last}/${body.length}`,
      "content-length": part.length,
    },
    body: part,
  };
}

function parseRange(
  header: string | undefined,
  length: number,
): { readonly first: number; readonly last: number } | "beyond" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null) return undefined;
  const [, from = "", to = ""] = match;
  if (from === "") {
    if (to === "") return undefined;
    const suffix = Math.min(Number(to), length);
    return suffix === 0 ? "beyond" : { first: length - suffix, last: length - 1 };
  }
  const first = Number(from);
  const last = to === "" ? length - 1 : Math.min(Number(to), length - 1);
  if (first >= length) return "beyond";
  // An end before the beginning makes the header invalid (RFC 9110 §14.1.2): distribution answers 416, and so do we.
  return to !== "" && Number(to) < first ? "beyond" : { first, last };
}
