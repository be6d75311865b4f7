import { BpfcacheError } from "../core/errors.js";
import type { Verification } from "../pull/verify.js";
import { printable } from "./output.js";
import { renderTree, type TreeNode } from "./tree.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, output, signal } = context;
  const [reference = ""] = words;
  const verification = await withCache(context, (cache) => cache.verify(reference, { signal }));
  output.result(verification, () => describe(verification, options.isSet("explain")));
  if (verification.decision !== "reject") return;
  throw new BpfcacheError("UNTRUSTED", `the trust policy refuses the image: ${verification.reason}`, {
    reference: verification.reference,
    hint:
      options.isSet("explain") || output.isJson
        ? undefined
        : "--explain tells why each signature counts or not.",
  });
}

const said = { accept: "accepted", warn: "accepted with a warning", reject: "refused" } as const;

function describe(verification: Verification, isFull: boolean): string {
  const { reference, rootDigest, decision, rule, reason, policy, signatures } = verification;
  if (!isFull) return `${reference}  ${rootDigest}\n  ${said[decision]}: ${printable(reason)}\n`;
  const children: TreeNode[] = [
    { cells: ["root digest", rootDigest] },
    { cells: ["decision", `${said[decision]}: ${printable(reason)}`] },
    { cells: ["rule", rule === null ? "none; the policy's default" : printable(rule)] },
    { cells: ["policy", policy] },
    ...signatures.map(({ digest, kind, counts, reason: why }) => ({
      cells: ["signature", `${digest}  ${kind}, ${counts ? "counts" : "does not count"}: ${printable(why)}`],
    })),
  ];
  return renderTree({ cells: [reference], children });
}
