/** BTF_KIND_* of linux/btf.h. */
export const kind = {
  void: 0,
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  functionPrototype: 13,
  variable: 14,
  dataSection: 15,
  float: 16,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Bytes behind the common 12 of each kind, in the order of their numbers: a fixed number of them … */
const fixedBytes: readonly number[] = [0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0];

/** … and as many for each of its `vlen` members. */
const bytesPerMember: readonly number[] = [0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12];

/** Undefined for a kind newer than these tables, whose length nobody can know. */
export function typeBytes(typeKind: number, memberCount: number): number | undefined {
  const fixed = fixedBytes[typeKind];
  const perMember = bytesPerMember[typeKind];
  if (typeKind === kind.void || fixed === undefined || perMember === undefined) return undefined;
  return 12 + fixed + perMember * memberCount;
}
