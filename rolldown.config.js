import { defineConfig } from "rolldown";

// A process of the command line that reads one object needs a hundred and thirty modules, and to find each of them takes
// longer than to run it. Bundled they are twenty-seven, and still loaded only by the verbs that need them.
export default defineConfig({
  input: "dist/cli/main.js",
  platform: "node",
  external: /^[^./]/, // Packages, which npm installs.
  output: { dir: "dist/cli", cleanDir: true },
});
