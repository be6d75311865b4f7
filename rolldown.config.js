import { defineConfig } from "rolldown";

// A process that reads one object needs a hundred and thirty modules, and to find each of them takes longer than to run it.
// Bundled they are fewer than thirty, and still loaded only where they are needed.
export default defineConfig({
  input: { main: "dist/cli/main.js", index: "dist/index.js" },
  platform: "node",
  external: /^[^./]/, // Packages, which npm installs.
  output: { dir: "dist/packed", cleanDir: true },
});
