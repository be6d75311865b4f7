import { BpfcacheError } from "../../core/errors.js";
import { type BytecodeLabels, programTypesAgree } from "../labels.js";
import type { ExtractedObject } from "./format.js";

/** Labels are only claims: the object is believed, and what differs is told. */
export function disagreements(labels: BytecodeLabels, objects: readonly ExtractedObject[]): string[] {
  const programs = objects.flatMap(({ facts }) => facts.programs);
  const maps = new Set(objects.flatMap(({ facts }) => facts.maps.map(({ name }) => name)));
  const found: string[] = [];
  for (const [name, type] of labels.programs) {
    const program = programs.find((candidate) => candidate.name === name);
    if (program === undefined) found.push(`the label names a program ${name} that no object has`);
    else if (!programTypesAgree(type, program.type)) {
      found.push(`the label calls program ${name} ${type}, its section makes it ${program.type}`);
    }
  }
  for (const name of labels.maps.keys()) {
    if (!maps.has(name)) found.push(`the label names a map ${name} that no object has`);
  }
  return found;
}

/** Throws INVALID_IMAGE, naming what disagrees, unless nothing does. */
export function requireAgreement(found: readonly string[] | undefined): void {
  const [first] = found ?? [];
  if (found === undefined || first === undefined) return;
  const more = found.length > 1 ? `, and ${found.length - 1} more` : "";
  throw new BpfcacheError("INVALID_IMAGE", `the image contradicts its objects: ${first}${more}`, {
    found: found.slice(0, 20).join("; "),
    hint: "Only --strict refuses that; without it, it is a warning that inspect shows.",
  });
}
