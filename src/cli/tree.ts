import { plainStyle, type Style } from "./terminal/style.js";
import { displayWidth, pad } from "./terminal/width.js";

/** A line of a tree and what hangs below it. */
export interface TreeNode {
  /** Columns: among siblings they are aligned. */
  readonly cells: readonly string[];
  readonly children?: readonly TreeNode[] | undefined;
}

/** The node and all below it, a line each, with the branches drawn. */
export function renderTree(root: TreeNode, style: Style = plainStyle): string {
  return `${style("bold", root.cells.join("  "))}\n${renderChildren(root.children ?? [], "", style)}`;
}

function renderChildren(children: readonly TreeNode[], indent: string, style: Style): string {
  const widths: number[] = [];
  for (const { cells } of children) {
    // The last cell of a line is as long as it likes.
    for (const [i, cell] of cells.slice(0, -1).entries())
      widths[i] = Math.max(widths[i] ?? 0, displayWidth(cell));
  }
  return children
    .map(({ cells, children: below = [] }, index) => {
      const isLast = index === children.length - 1;
      const line = cells
        .map((cell, i) => (i === cells.length - 1 ? cell : pad(cell, widths[i] ?? 0)))
        // What a line is about stands first; what it says is what the eye is to find.
        .map((cell, i) => (i === 0 && cells.length > 1 ? style("dim", cell) : cell))
        .join("  ");
      const branch = `${indent}${isLast ? "└─ " : "├─ "}`;
      const inner = renderChildren(below, `${indent}${isLast ? "   " : "│  "}`, style);
      return `${style("dim", branch)}${line}\n${inner}`;
    })
    .join("");
}
