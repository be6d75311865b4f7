import type { BpfProgram } from "./bpf-object.js";
import { malformedObject } from "./byte-reader.js";
import type { NamedSymbol } from "./object-symbols.js";
import { sectionMeaning } from "./program-type.js";

const instructionBytes = 8;

/** The programs among the functions of program sections. Throws INVALID_IMAGE for one that does not fit its section. */
export function readPrograms(functions: readonly NamedSymbol[], problems: string[]): readonly BpfProgram[] {
  const programs: BpfProgram[] = [];
  for (const candidate of functions) {
    if (candidate.symbol.binding === "local") {
      problems.push(
        `the function ${candidate.name} in section ${candidate.section.name} is static: programs must be global`,
      );
      continue;
    }
    const program = readProgram(candidate);
    if (program.instructions === 0) problems.push(`the program ${program.name} is empty`);
    programs.push(program);
  }
  return programs;
}

function readProgram({ name, symbol: { offset, size }, section }: NamedSymbol): BpfProgram {
  if (size % instructionBytes !== 0 || offset % instructionBytes !== 0 || offset + size > section.size) {
    throw malformedObject(`the program ${name} does not consist of whole instructions inside its section`);
  }
  const { type, attach, sleepable, autoload } = sectionMeaning(section.name);
  return {
    name,
    type,
    section: section.name,
    ...(attach === undefined ? {} : { attach }),
    sleepable,
    autoload,
    instructions: size / instructionBytes,
    offset,
  };
}
