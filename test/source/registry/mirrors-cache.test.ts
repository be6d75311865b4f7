import { describe, expect, it } from "vitest";
import { parseOptions } from "../../../src/cli/arguments.js";
import { globalOptions, readSettings, toCacheOptions } from "../../../src/cli/settings.js";
import { openCache } from "../../../src/open-cache.js";
import { bytecodeImage } from "../../support/image-builder.js";
import { startTestRegistry } from "../../support/test-registry.js";
import { directoryWith } from "../locations/support.js";

describe("a cache with mirrors", () => {
  it("pulls from one under the reference's own name, and asks nobody for what is cached", async () => {
    const mirror = await startTestRegistry();
    const { host } = new URL(`http://${mirror.reference("org/prog:v1")}`);
    mirror.add("org/prog:v1", bytecodeImage());
    const hostsDirectory = directoryWith({ "upstream.example/hosts.toml": `[host."http://${host}"]` });
    const registriesConf = `${directoryWith({ "registries.conf": "" })}/registries.conf`;
    const cache = await openCache({ registryConfig: { hostsDirectory, registriesConf } });
    try {
      const pulled = await cache.pull("upstream.example/org/prog:v1");
      expect(pulled).toMatchObject({ reference: "upstream.example/org/prog:v1", from: "registry" });
      await mirror.close();
      expect(await cache.pull("upstream.example/org/prog:v1")).toMatchObject({ from: "cache", requests: 0 });
    } finally {
      await cache.close();
    }
  });

  it("reads its configuration when something is pulled, not before", async () => {
    const registryConfig = { hostsDirectory: "/no/such/directory", registriesConf: "/no/such/file" };
    const cache = await openCache({ registryConfig });
    try {
      const pull = cache.pull("upstream.example/org/prog:v1");
      await expect(pull).rejects.toMatchObject({
        code: "USAGE",
        message: expect.stringContaining("/no/such/file"),
      });
    } finally {
      await cache.close();
    }
  });

  it("is told of them by --hosts-dir and --registries-conf", () => {
    const words = ["--hosts-dir", "/hosts", "--registries-conf", "/conf"];
    const settings = readSettings(parseOptions(words, globalOptions).options, {});
    expect(toCacheOptions(settings).registryConfig).toEqual({
      hostsDirectory: "/hosts",
      registriesConf: "/conf",
    });
  });
});
