/** A fenced block of a page. */
export interface Block {
  /** The first word behind the fence: sh, js, toml, … */
  readonly language: string;
  /** Where the fence is, counted from one. */
  readonly line: number;
  readonly text: string;
}

const fence = /^```(\w*)\n([\s\S]*?)^```$/gm;

export function blocksOf(page: string): Block[] {
  return [...page.matchAll(fence)].map((match) => ({
    language: match[1] ?? "",
    line: page.slice(0, match.index).split("\n").length,
    text: match[2] ?? "",
  }));
}

/** Where the links of a page lead: what stands in `](…)`, outside of code. */
export function linksOf(page: string): string[] {
  const prose = page.replace(fence, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? "");
}

/** The anchors that the headings of a page have, as code forges make them. */
export function anchorsOf(page: string): string[] {
  return [...page.replace(fence, "").matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? "")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(" ", "-"),
  );
}
