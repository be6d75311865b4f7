#!/usr/bin/env node
// @ts-check
// The load of loader.js against the library, which keeps what is known of the program and takes care of its pins:
//
//     node examples/load-program.js CACHE_DIR REFERENCE [PROGRAM]

import { openCache } from "bpfcache";

const [directory, reference, program] = process.argv.slice(2);
if (directory === undefined || reference === undefined) {
  console.error("usage: node examples/load-program.js CACHE_DIR REFERENCE [PROGRAM]");
  process.exit(2);
}

const cache = await openCache({ directory });
try {
  const loaded = await cache.programs.load(reference, {
    programs: program === undefined ? [] : [program],
    metadata: { "loaded-by": "examples/load-program.js" },
  });
  for (const { id, name, type, tag, objectDigest, pin, mapIds } of loaded) {
    console.log(`${id}  ${name} (${type}), tag ${tag}, maps ${mapIds.join(", ") || "none"}`);
    console.log(`    of ${objectDigest}\n    pinned at ${pin}`);
  }
  // Another process would find them with `bpfcache program list`. This one is through with them.
  for (const { id } of loaded) await cache.programs.unload(id);
  console.log("unloaded");
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cache.close();
}
