/** What an object is called that nobody has named; Inspektor Gadget's and BumbleBee's word for theirs. */
export const defaultObjectName = "program.o";

const maxLength = 1024;

/**
 * A title or path as a name that can be printed, typed and compared: no way out of a directory, nothing that a
 * terminal obeys or that hides or reorders what is read. Undefined when nothing is left of it.
 */
export function safeName(title: string | undefined): string | undefined {
  const parts = title?.split(/[/\\]/).filter((part) => part !== "" && part !== "." && part !== "..");
  const name = parts
    ?.join("/")
    .slice(-maxLength)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, "_");
  return name || undefined;
}

/** The same things with safe names, no two alike: of several `a.o` the second becomes `a-2.o`. */
export function withSafeNames<T extends { readonly name: string }>(things: readonly T[]): T[] {
  const taken = new Set<string>();
  const counts = new Map<string, number>();
  return things.map((thing) => {
    const wanted = safeName(thing.name) ?? defaultObjectName;
    let name = wanted;
    let count = counts.get(wanted) ?? 1;
    while (taken.has(name)) name = numbered(wanted, ++count);
    counts.set(wanted, count);
    taken.add(name);
    return { ...thing, name };
  });
}

function numbered(name: string, number: number): string {
  const [, stem = name, extension = ""] = /^(.+?)((?:\.[^./]+)?)$/s.exec(name) ?? [];
  return `${stem}-${number}${extension}`;
}
