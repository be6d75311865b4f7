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

/** Bytes behind the common 12 of each kind: a fixed number, and as many for each of its `vlen` members. */
const trailing = new Map<number, { readonly fixed: number; readonly perMember: number }>([
  [kind.int, { fixed: 4, perMember: 0 }],
  [kind.pointer, { fixed: 0, perMember: 0 }],
  [kind.array, { fixed: 12, perMember: 0 }],
  [kind.struct, { fixed: 0, perMember: 12 }],
  [kind.union, { fixed: 0, perMember: 12 }],
  [kind.enum, { fixed: 0, perMember: 8 }],
  [kind.forward, { fixed: 0, perMember: 0 }],
  [kind.typedef, { fixed: 0, perMember: 0 }],
  [kind.volatile, { fixed: 0, perMember: 0 }],
  [kind.const, { fixed: 0, perMember: 0 }],
  [kind.restrict, { fixed: 0, perMember: 0 }],
  [kind.function, { fixed: 0, perMember: 0 }],
  [kind.functionPrototype, { fixed: 0, perMember: 8 }],
  [kind.variable, { fixed: 4, perMember: 0 }],
  [kind.dataSection, { fixed: 0, perMember: 12 }],
  [kind.float, { fixed: 0, perMember: 0 }],
  [kind.declarationTag, { fixed: 4, perMember: 0 }],
  [kind.typeTag, { fixed: 0, perMember: 0 }],
  [kind.enum64, { fixed: 0, perMember: 12 }],
]);

/** Undefined for a kind newer than this table, whose length nobody can know. */
export function typeBytes(typeKind: number, memberCount: number): number | undefined {
  const shape = trailing.get(typeKind);
  return shape === undefined ? undefined : 12 + shape.fixed + shape.perMember * memberCount;
}
