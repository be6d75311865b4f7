/** One way to authenticate that a server offers (RFC 9110, section 11.6.1). Scheme and parameter names are lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const token = /[!#$%&'*+.^_`|~\w-]+/y;
const token68 = /[\w.~+/-]+=*(?=\s*(?:,|$))/y;
const quotedString = /"((?:[^"\\]|\\.)*)(?:"|$)/y;
const separators = /[\s,]+/y;
/** Values ought to be quoted or tokens; a bare URL is seen all the same. */
const bareValue = /[^\s,"]+/y;
const equals = /\s*=\s*/y;

/**
 * Reads every challenge of every WWW-Authenticate header. Several may share one header, separated by the same
 * commas that separate parameters: a word is a parameter if "=" follows, else it begins the next challenge.
 * What cannot be understood is passed over, because a later challenge may be one we can answer.
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.flatMap(parseHeader);
}

/** The challenge to answer: Bearer before Basic; others (Negotiate, Digest, AWS4) are for somebody else. */
export function preferredChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  return (
    challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters["realm"] !== undefined) ??
    challenges.find(({ scheme }) => scheme === "basic")
  );
}

function parseHeader(text: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const read = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    if (match !== undefined) at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    if (read(separators) !== undefined) continue;
    const word = read(token)?.[0];
    if (word === undefined) {
      at += 1;
    } else if (read(equals) === undefined) {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) });
      read(separators);
      read(token68);
    } else {
      const quoted = read(quotedString)?.[1];
      const value = quoted === undefined ? read(bareValue)?.[0] : quoted.replace(/\\(.)/g, "$1");
      const parameters = challenges.at(-1)?.parameters;
      if (parameters !== undefined) parameters[word.toLowerCase()] ??= value ?? "";
    }
  }
  return challenges;
}
