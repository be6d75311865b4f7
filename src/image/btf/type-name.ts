import { type Btf, maxTypeDepth } from "./btf.js";
import { kind } from "./kinds.js";

/** A type as C would write it, without const and volatile: "unsigned int", "struct event *", "char[16]". */
export function typeName(btf: Btf, id: number, depth = 0): string {
  if (depth > maxTypeDepth) return "…";
  const type = btf.type(id);
  const inner = (): string => typeName(btf, type.sizeOrType, depth + 1);
  switch (type.kind) {
    case kind.void:
      return "void";
    case kind.pointer:
      return pointerName(inner());
    case kind.array:
      return arrayName(btf, id, depth);
    case kind.struct:
      return tagged("struct", btf.nameOf(type));
    case kind.union:
      return tagged("union", btf.nameOf(type));
    case kind.enum:
    case kind.enum64:
      return tagged("enum", btf.nameOf(type));
    case kind.forward:
      return tagged("struct", btf.nameOf(type));
    case kind.const:
    case kind.volatile:
    case kind.restrict:
    case kind.typeTag:
      return inner();
    case kind.functionPrototype:
      return "function";
    default:
      return btf.nameOf(type);
  }
}

function tagged(keyword: string, name: string): string {
  return name === "" ? `${keyword} {…}` : `${keyword} ${name}`;
}

function pointerName(target: string): string {
  return target.endsWith("*") ? `${target}*` : `${target} *`;
}

/** The outermost dimension is written first, so the brackets are gathered on the way in. */
function arrayName(btf: Btf, id: number, depth: number): string {
  let dimensions = "";
  let elementId = id;
  for (let level = depth; level <= maxTypeDepth; level++) {
    const type = btf.type(elementId);
    if (type.kind !== kind.array) break;
    const { typeId, count } = btf.elementOf(type);
    dimensions += `[${count}]`;
    elementId = typeId;
  }
  return btf.type(elementId).kind === kind.array
    ? "…"
    : `${typeName(btf, elementId, depth + 1)}${dimensions}`;
}
