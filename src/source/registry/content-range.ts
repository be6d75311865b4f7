export interface ContentRange {
  readonly first: number;
  readonly last: number;
  /** Undefined when the server does not know (`*`). */
  readonly total: number | undefined;
}

/** `bytes first-last/total` of a 206 (RFC 9110, section 14.4), or undefined unless it is well formed and makes sense. */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(value?.trim() ?? "");
  if (match === null) return undefined;
  const [, first, last, total] = match;
  const range = {
    first: Number(first),
    last: Number(last),
    total: total === "*" ? undefined : Number(total),
  };
  const isSensible = range.first <= range.last && (range.total === undefined || range.last < range.total);
  return isSensible ? range : undefined;
}

/** The length a 416 gives: the total in its `bytes *` + `/total` form. */
export function parseUnsatisfiedRange(value: string | undefined): number | undefined {
  const match = /^bytes \*\/(\d{1,15})$/i.exec(value?.trim() ?? "");
  return match === null ? undefined : Number(match[1]);
}
