import { contentBytes, countBytes, recountBytes, totalKey } from "../content-bytes.js";
import { isUsageIndexRight, rebuildUsageIndex, usageOrderKey } from "../usage.js";
import type { RowCheck } from "./fault.js";

/** What is worked out from all rows of a tree: each is judged in one go, after all else has been put right. */
export const totalChecks: readonly { readonly check: RowCheck; readonly key: Buffer }[] = [
  {
    key: totalKey,
    check: {
      tree: "meta",
      faultOf: (environment) => {
        const [kept, counted] = [contentBytes(environment), countBytes(environment)];
        if (kept === counted) return undefined;
        const reason = `the content has ${counted} bytes, ${kept} are counted`;
        return { reason, mend: () => void recountBytes(environment) };
      },
    },
  },
  {
    key: usageOrderKey,
    check: {
      tree: "usage",
      faultOf: (environment) => {
        if (isUsageIndexRight(environment)) return undefined;
        const reason = "the order in which images were used is not that of their times";
        return { reason, mend: () => rebuildUsageIndex(environment) };
      },
    },
  },
];
