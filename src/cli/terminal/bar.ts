/** A bar of a width, filled to a share from 0 to 1. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(filled) + "░".repeat(width - filled);
}

/** A bar of what is one's own and, lighter, what is shared besides; the rest of its width is empty. */
export function sharedBar(whole: number, own: number, width: number): string {
  const ownLength = Math.round(own * width);
  return (
    "█".repeat(ownLength) + "░".repeat(Math.max(1 - ownLength, Math.round(whole * width) - ownLength, 0))
  );
}
