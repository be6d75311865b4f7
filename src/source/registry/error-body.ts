import { z } from "zod";
import { redactText } from "./redact.js";

/** distribution-spec, "Error Codes". Other services answer in other shapes; those are shown as text. */
const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.string().nullish(), message: z.string().nullish() })).min(1),
});
/** OAuth2 token services: RFC 6749, section 5.2, and Docker's own. */
const oauthSchema = z.object({
  error: z.string().optional(),
  error_description: z.string().optional(),
  details: z.string().optional(),
  message: z.string().optional(),
});

const longestSentence = 300;

/** What a server said was wrong, as words to put into a message. Undefined when it said nothing readable. */
export function describeErrorBody(body: Uint8Array, contentType: string | undefined): string | undefined {
  const text = new TextDecoder().decode(body);
  const said = fromJson(text) ?? (isMarkup(text, contentType) ? undefined : text);
  if (said === undefined) return undefined;
  const shown = redactText(said);
  if (shown === "") return undefined;
  return shown.length > longestSentence ? `${shown.slice(0, longestSentence)}…` : shown;
}

/** The codes a registry gives for what was wrong; none when the body is in another shape. */
export function errorCodesIn(body: Uint8Array): string[] {
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(body));
    return errorsSchema.parse(json).errors.flatMap(({ code }) => code ?? []);
  } catch {
    return [];
  }
}

function fromJson(text: string): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const registry = errorsSchema.safeParse(json);
  if (registry.success) {
    const sentences = registry.data.errors.map(({ code, message }) => joined(code, message));
    return [...new Set(sentences)].slice(0, 3).join("; ");
  }
  const oauth = oauthSchema.safeParse(json);
  if (!oauth.success) return undefined;
  const { error, error_description, details, message } = oauth.data;
  return joined(error, error_description ?? details ?? message) || undefined;
}

function joined(code: string | null | undefined, message: string | null | undefined): string {
  return [code, message].filter((part) => part !== undefined && part !== null && part !== "").join(": ");
}

/** Proxies and load balancers answer with pages meant for a browser; nothing in them helps. */
function isMarkup(text: string, contentType: string | undefined): boolean {
  return contentType?.includes("html") === true || /^\s*</.test(text);
}
