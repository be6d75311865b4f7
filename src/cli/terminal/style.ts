const codes = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

type StyleName = keyof typeof codes;

/** Puts escape codes around text, or none where they would be in the way. */
export type Style = (name: StyleName, text: string) => string;

export function styleFor(stream: { readonly isTTY?: boolean | undefined }, environment = process.env): Style {
  if (!hasColour(stream, environment)) return plainStyle;
  return (name, text) => `\u001b[${codes[name][0]}m${text}\u001b[${codes[name][1]}m`;
}

export const plainStyle: Style = (_, text) => text;

/** NO_COLOR (no-color.org) has the last word, FORCE_COLOR the one before; else only a terminal that can has colour. */
function hasColour(
  stream: { readonly isTTY?: boolean | undefined },
  environment: NodeJS.ProcessEnv,
): boolean {
  if (environment["NO_COLOR"]) return false;
  const forced = environment["FORCE_COLOR"];
  if (forced !== undefined && forced !== "") return forced !== "0" && forced !== "false";
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}
