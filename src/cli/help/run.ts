import { BpfcacheError } from "../../core/errors.js";
import type { VerbContext } from "../verb.js";
import { findVerbSpec, isFirstWord, verbs } from "../verbs.js";
import { nearest } from "./nearest.js";
import { generalHelp, groupHelp, verbHelp } from "./overview.js";
import { topics } from "./topics.js";

export async function run({ words, output }: VerbContext): Promise<void> {
  const [name, part] = words;
  const text = await helpOn(name, part);
  output.result({ topic: name ?? null, text }, () => text);
}

async function helpOn(name: string | undefined, part: string | undefined): Promise<string> {
  if (name === undefined) return generalHelp();
  // What is both a topic and a verb is told as a topic; the verb tells of itself with --help.
  const topic = topics.find((each) => each.name === name);
  if (topic !== undefined) return (await topic.load()).text(part);
  const verb = findVerbSpec([name, part].filter(Boolean).join(" "));
  if (verb !== undefined) return verbHelp(verb);
  if (isFirstWord(name) && part === undefined) return groupHelp(name);
  const known = [...topics.map((each) => each.name), ...verbs.map((each) => each.name)];
  const meant = nearest(name, known);
  throw new BpfcacheError(
    "USAGE",
    `there is no help on ${JSON.stringify([name, part].filter(Boolean).join(" "))}`,
    {
      hint:
        meant === undefined
          ? "bpfcache help lists what there is help on."
          : `Did you mean bpfcache help ${meant}?`,
    },
  );
}
