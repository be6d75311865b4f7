/** A page of help about no verb in particular. */
export interface Topic {
  readonly name: string;
  readonly summary: string;
  /** Loaded when it is read. */
  readonly load: () => Promise<{ readonly text: (part: string | undefined) => string }>;
}

export const topics: readonly Topic[] = [
  { name: "exit-codes", summary: "what each exit status means", load: () => import("./exit-codes.js") },
  {
    name: "config",
    summary: "the configuration file and the environment",
    load: () => import("./config.js"),
  },
  {
    name: "policy",
    summary: "which images may be used: the trust policy",
    load: () => import("./policy.js"),
  },
  {
    name: "json-schema",
    summary: "what --json prints, as a JSON Schema",
    load: () => import("./json-schema.js"),
  },
  { name: "man-page", summary: "all of this as a manual page (roff)", load: () => import("./man-page.js") },
];
