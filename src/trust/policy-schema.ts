import type { z as Zod } from "zod";
import { coveredBy } from "../core/reference-prefix.js";
import { loadZod } from "./packages.js";

export type PolicyDocument = Zod.output<ReturnType<typeof policySchema>>;
export type RuleDocument = NonNullable<PolicyDocument["rule"]>[number];
export type IdentityDocument = NonNullable<RuleDocument["identities"]>[number];

/** `host[:port][/path]`, in the form that references have once they are parsed; `*.` stands for any subdomain. */
const scopeForm =
  /^(?:\*\.)?[a-z0-9.-]+(?::\d+)?(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$|^\[[0-9a-f:]+\](?::\d+)?(?:\/[a-z0-9._/-]+)?$/;
const maxScopeLength = 255;

/** The whole of a policy file. What it does not know is an error: a word spelled wrong must not make a policy weaker. */
export function policySchema() {
  const { z } = loadZod();
  const numbers = 'must be "any", "all" or a number above 0';
  const action = z.enum(["accept", "warn", "reject"], 'must be "accept", "warn" or "reject"');
  const text = z.string("must be a string").min(1, "is empty").max(16_384, "is too long");
  const texts = z.array(text, "must be a list of strings").min(1, "must not be empty").max(1_000);
  const expression = text.refine(isExpression, "is not a regular expression");
  const identity = z
    .strictObject({
      certificate_identity: text.optional(),
      certificate_identity_regexp: expression.optional(),
      certificate_oidc_issuer: text.optional(),
      certificate_oidc_issuer_regexp: expression.optional(),
    })
    .refine(
      (id) => (id.certificate_identity === undefined) !== (id.certificate_identity_regexp === undefined),
      "needs certificate_identity or certificate_identity_regexp, and not both",
    )
    .refine(
      (id) =>
        (id.certificate_oidc_issuer === undefined) !== (id.certificate_oidc_issuer_regexp === undefined),
      "needs certificate_oidc_issuer or certificate_oidc_issuer_regexp, and not both",
    );
  const rule = z
    .strictObject({
      scope: z.string("is missing, or not a string").refine(isScope, {
        error:
          'must be a registry or the beginning of a repository, such as "quay.io/org", without tag or digest',
      }),
      action: action.optional(),
      references: texts.optional(),
      digests: texts.optional(),
      keys: texts.optional(),
      identities: z
        .array(identity, "must be a list of tables")
        .min(1, "must not be empty")
        .max(1_000)
        .optional(),
      require: z.union([z.enum(["any", "all"]), z.int().min(1, numbers)], numbers).optional(),
    })
    .superRefine((found, context) => {
      const asks = hasConditions(found);
      const fault = (message: string, key: string): void => {
        context.addIssue({ code: "custom", message, path: [key] });
      };
      if (!asks && found.action === undefined)
        fault(
          "says neither an action nor what images must have: references, digests, keys or identities",
          "scope",
        );
      if (asks && (found.action === "accept" || found.action === "reject"))
        fault(
          "decides already, and the rule also says what images must have; leave out one of them",
          "action",
        );
      const signers = (found.keys?.length ?? 0) + (found.identities?.length ?? 0);
      if (found.require !== undefined && signers === 0)
        fault("says how many must sign, but not who", "require");
      if (typeof found.require === "number" && found.require > signers)
        fault(`asks for ${found.require} signers of ${signers}`, "require");
    });
  return z.strictObject({
    default: action,
    rule: z.array(rule, "must be tables, each under [[rule]]").max(10_000).optional(),
    trusted_root: text.optional(),
    tuf: z.strictObject({ mirror: z.url("must be a URL"), root: text }).optional(),
  });
}

/** Whether a rule asks something of the image, instead of deciding by itself. */
export function hasConditions({
  references,
  digests,
  keys,
  identities,
}: Pick<RuleDocument, "references" | "digests" | "keys" | "identities">): boolean {
  return [references, digests, keys, identities].some((condition) => condition !== undefined);
}

function isScope(text: string): boolean {
  // What would not even cover itself, `*.` alone for one, covers nothing.
  return (
    text.length <= maxScopeLength &&
    scopeForm.test(text) &&
    coveredBy(text, text.replace("*.", "a.")) !== undefined
  );
}

function isExpression(text: string): boolean {
  try {
    new RegExp(text, "u");
    return true;
  } catch {
    return false;
  }
}
