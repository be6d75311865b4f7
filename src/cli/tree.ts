/** A line of a tree and what hangs below it. */
export interface TreeNode {
  /** Columns: among siblings they are aligned. */
  readonly cells: readonly string[];
  readonly children?: readonly TreeNode[] | undefined;
}

/** The node and all below it, a line each, with the branches drawn. */
export function renderTree(root: TreeNode): string {
  return `${root.cells.join("  ")}\n${renderChildren(root.children ?? [], "")}`;
}

function renderChildren(children: readonly TreeNode[], indent: string): string {
  const widths: number[] = [];
  for (const { cells } of children) {
    // The last cell of a line is as long as it likes.
    for (const [i, cell] of cells.slice(0, -1).entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return children
    .map(({ cells, children: below = [] }, index) => {
      const isLast = index === children.length - 1;
      const line = cells
        .map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
        .join("  ");
      return `${indent}${isLast ? "└─ " : "├─ "}${line}\n${renderChildren(below, `${indent}${isLast ? "   " : "│  "}`)}`;
    })
    .join("");
}
