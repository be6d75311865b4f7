import { describePulled } from "./describe.js";
import { describeExplanation, explain, Story } from "./explain.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const [reference = ""] = words;
  const strict = options.isSet("strict");
  const referrers = options.isSet("referrers");
  const story = options.isSet("explain") ? new Story(context.onEvent) : undefined;
  try {
    const image = await withCache({ ...context, onEvent: story?.onEvent ?? context.onEvent }, (cache) =>
      cache.pull(reference, { maxAgeMs: settings.maxAgeMs, strict, referrers, signal }),
    );
    const explanation = story && { explain: explain(story.of(image.reference), settings.policyFile) };
    output.result({ ...image, ...explanation }, () => describePulled(image));
  } finally {
    // Of a failure most of all.
    for (const each of story?.references ?? [])
      output.note(() => describeExplanation(each, explain(story?.of(each) ?? [], settings.policyFile)));
  }
}
