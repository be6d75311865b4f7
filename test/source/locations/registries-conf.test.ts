import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Locations } from "../../../src/source/locations/locations.js";
import { directoryWith, failureFrom, locate, locationsWith, placesOf } from "./support.js";

const digest = `sha256:${"a".repeat(64)}`;

/** Locations whose registries.conf is this. */
function conf(text: string): Locations {
  return locationsWith({ "containers/registries.conf": text });
}

describe("registries.conf", () => {
  it("has mirrors asked in order, then the location, with the covered part of the name replaced", () => {
    const locations = conf(`
      [[registry]]
      prefix = "example.com/foo"
      location = "internal.example/bar"
      [[registry.mirror]]
      location = "mirror-0.example/mirror-for-foo"
      [[registry.mirror]]
      location = "mirror-1.example:5000/"
      insecure = true
    `);
    expect(placesOf(locations, "example.com/foo/image:v1")).toEqual([
      "mirror-0.example/mirror-for-foo/image",
      "https:http:mirror-1.example:5000/image",
      "internal.example/bar/image",
    ]);
    expect(placesOf(locations, "example.com/food/image:v1")).toEqual(["example.com/food/image"]);
  });

  it("has the longest prefix win, down to a tag", () => {
    const table = (prefix: string) => `[[registry]]\nprefix = "${prefix}"\nlocation = "${prefix}"\n
      [[registry.mirror]]\nlocation = "mirror.example/${prefix.length}"\n`;
    const prefixes = ["example.com", "example.com/a/b", "example.com/a"];
    const locations = conf(prefixes.map(table).join(""));
    expect(placesOf(locations, "example.com/a/b/c")[0]).toBe("mirror.example/15/c");
    expect(placesOf(locations, "example.com/a/x")[0]).toBe("mirror.example/13/x");
    expect(placesOf(locations, "example.com/x")[0]).toBe("mirror.example/11/x");
    expect(placesOf(locations, "example.com:5000/x")[0]).toBe("example.com:5000/x");
  });

  it("has subdomains for *., and not the domain itself", () => {
    const locations = conf(`
      [[registry]]
      prefix = "*.example.com"
      [[registry.mirror]]
      location = "mirror.example"
      [[registry]]
      prefix = "*.example.com/deep"
      location = "deep.example/x"
    `);
    expect(placesOf(locations, "a.example.com/x")).toEqual(["mirror.example/x", "a.example.com/x"]);
    expect(placesOf(locations, "a.b.example.com/x")[0]).toBe("mirror.example/x");
    expect(placesOf(locations, "a.example.com/deep/x")).toEqual(["deep.example/x/x"]);
    expect(placesOf(locations, "example.com/x")).toEqual(["example.com/x"]);
    expect(placesOf(locations, "badexample.com/x")).toEqual(["badexample.com/x"]);
    expect(placesOf(locations, "evil.org/a.example.com/x")).toEqual(["evil.org/a.example.com/x"]);
  });

  it("has digest-only and tag-only mirrors for references of that kind", () => {
    const locations = conf(`
      [[registry]]
      location = "example.com"
      [[registry.mirror]]
      location = "by-digest.example"
      pull-from-mirror = "digest-only"
      [[registry.mirror]]
      location = "by-tag.example"
      pull-from-mirror = "tag-only"
      [[registry.mirror]]
      location = "all.example"
      pull-from-mirror = "all"
    `);
    const hosts = (text: string) => locate(locations, text).map(({ host }) => host);
    expect(hosts("example.com/a:v1")).toEqual(["by-tag.example", "all.example", "example.com"]);
    expect(hosts(`example.com/a@${digest}`)).toEqual(["by-digest.example", "all.example", "example.com"]);
    expect(hosts(`example.com/a:v1@${digest}`)).toEqual(["by-digest.example", "all.example", "example.com"]);
  });

  it("has no mirror for tags where mirror-by-digest-only is set", () => {
    const locations = conf(`
      [[registry]]
      location = "example.com"
      mirror-by-digest-only = true
      [[registry.mirror]]
      location = "mirror.example"
    `);
    expect(placesOf(locations, "example.com/a:v1")).toEqual(["example.com/a"]);
    expect(placesOf(locations, `example.com/a@${digest}`)).toHaveLength(2);
  });

  it("refuses what is blocked, with a hint that names the file", () => {
    const locations = conf(
      '[[registry]]\nprefix = "example.com/bad"\nblocked = true\nlocation = "example.com/bad"',
    );
    const failure = failureFrom(() => locate(locations, "example.com/bad/image:v1"));
    expect(failure).toMatchObject({ code: "USAGE", reference: "example.com/bad/image:v1" });
    expect(failure.hint).toContain("containers/registries.conf");
    expect(placesOf(locations, "example.com/good/image:v1")).toEqual(["example.com/good/image"]);
  });

  it("can block one tag", () => {
    const locations = conf('[[registry]]\nprefix = "example.com/a:v1"\nblocked = true');
    expect(failureFrom(() => locate(locations, "example.com/a:v1")).code).toBe("USAGE");
    expect(placesOf(locations, "example.com/a:v2")).toEqual(["example.com/a"]);
  });

  it("lets any certificate do, and http, where it says insecure", () => {
    const locations = conf('[[registry]]\nlocation = "example.com"\ninsecure = true');
    expect(locate(locations, "example.com/a")[0]).toMatchObject({
      schemes: ["https:", "http:"],
      connection: { skipsVerification: true },
    });
  });

  it("does not tell a mirror for whom it is asked: Podman does not either", () => {
    const locations = conf(
      '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "b.example"',
    );
    expect(locate(locations, "a.example/x").map(({ namespace }) => namespace)).toEqual([
      undefined,
      undefined,
    ]);
  });

  it.each([
    ["[[registry]]\nblocked = true", "registry[0]: has neither prefix nor location"],
    ['[[registry]]\nlocation = "https://example.com"', "must not begin with a scheme"],
    ['[[registry]]\nlocation = "example.com"\nblocked = "yes"', "registry[0].blocked: must be true or false"],
    ['[[registry]]\nlocation = "example.com"\n[[registry.mirror]]\nlocation = ""', "must not be empty"],
    [
      '[[registry]]\nlocation = "example.com"\n[[registry.mirror]]\nlocation = "m.example"\npull-from-mirror = "no"',
      "registry[0].mirror[0].pull-from-mirror: must be all, digest-only or tag-only",
    ],
    [
      '[[registry]]\nlocation = "example.com"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.example"\npull-from-mirror = "all"',
      "both mirror-by-digest-only and pull-from-mirror",
    ],
    ['[[registry]]\nprefix = "example.com"\nlocation = "mirror"', "does not begin with a host"],
    ['[[registry]]\nprefix = "example.com"\nlocation = "m.example/UPPER"', "lower case"],
    ['[[registry]]\nprefix = "example.com/a:v1"\nlocation = "m.example/a:v2"', "change the tag"],
    [
      '[[registry]]\nprefix = "example.com"\nblocked = true\n[[registry]]\nprefix = "example.com"',
      "two tables",
    ],
    ['[registries.block]\nregistries = ["example.com"]', "version 1"],
    ["[[registry]\n", "line 1, column"],
  ])("that is wrong is USAGE: %s", (text, reason) => {
    const failure = failureFrom(() => locate(conf(text), "example.com/a:v1"));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("containers/registries.conf is malformed");
    expect(failure.message).toContain(reason);
  });
});

describe("the files of registries.conf", () => {
  const mirror = (name: string) =>
    `[[registry]]\nprefix = "r.example"\nlocation = "r.example"\n[[registry.mirror]]\nlocation = "${name}.example"`;
  const first = (locations: Locations) => locate(locations, "r.example/a")[0]?.host;

  it("are overridden table by table by those in registries.conf.d, in the order of their names", () => {
    const files = {
      "containers/registries.conf": mirror("main"),
      "containers/registries.conf.d/50-b.conf": mirror("late"),
      "containers/registries.conf.d/10-a.conf": mirror("early"),
      "containers/registries.conf.d/99-readme.txt": "not TOML",
    };
    expect(first(locationsWith(files))).toBe("late.example");
  });

  it("are the user's own if there is one, and the system's are then not read", () => {
    const files = {
      "containers/registries.conf": mirror("system"),
      "containers/registries.conf.d/a.conf": mirror("system-d"),
      ".config/containers/registries.conf": mirror("user"),
    };
    expect(first(locationsWith(files))).toBe("user.example");
    const elsewhere = directoryWith({ "containers/registries.conf": mirror("xdg") });
    expect(first(locationsWith(files, { environment: { XDG_CONFIG_HOME: elsewhere } }))).toBe("xdg.example");
  });

  it("may have the user's registries.conf.d after the system's", () => {
    const files = {
      "containers/registries.conf.d/z.conf": mirror("system-d"),
      ".config/containers/registries.conf.d/a.conf": mirror("user-d"),
    };
    expect(first(locationsWith(files))).toBe("user-d.example");
  });

  it("begin with the one that CONTAINERS_REGISTRIES_CONF names", () => {
    const named = join(directoryWith({ "mine.conf": mirror("named") }), "mine.conf");
    const environment = { HOME: "/nonexistent", CONTAINERS_REGISTRIES_CONF: named };
    const files = { "containers/registries.conf": mirror("system") };
    expect(first(locationsWith(files, { environment }))).toBe("named.example");
  });

  it("are the named one and its own .d alone, when one is named as an option", () => {
    const directory = directoryWith({
      "mine.conf": mirror("named"),
      "mine.conf.d/a.conf": mirror("named-d"),
    });
    const files = {
      "containers/registries.conf": mirror("system"),
      "containers/registries.conf.d/a.conf": mirror("system-d"),
    };
    const locations = locationsWith(files, { registriesConf: join(directory, "mine.conf") });
    expect(first(locations)).toBe("named-d.example");
  });

  it("that were named have to be there", () => {
    const missing = "/no/such/registries.conf";
    const byOption = locationsWith({}, { registriesConf: missing });
    const byEnvironment = locationsWith({}, { environment: { CONTAINERS_REGISTRIES_CONF: missing } });
    for (const locations of [byOption, byEnvironment]) {
      expect(failureFrom(() => first(locations))).toMatchObject({ code: "USAGE" });
    }
  });
});

describe("both hosts.toml and registries.conf", () => {
  const rules = `[[registry]]\nlocation = "quay.io"\n[[registry.mirror]]\nlocation = "podman.example"\n
    [[registry]]\nlocation = "quay.io/bad"\nblocked = true`;
  const hosts = (name: string) => `[host."https://${name}.example"]`;
  const first = (locations: Locations, text: string) => locate(locations, text)[0]?.host;

  it("a registry's own directory comes before a table, and a table before _default", () => {
    const own = {
      "containers/registries.conf": rules,
      "containerd/certs.d/quay.io/hosts.toml": hosts("own"),
    };
    expect(first(locationsWith(own), "quay.io/a")).toBe("own.example");
    const byDefault = {
      "containers/registries.conf": rules,
      "containerd/certs.d/_default/hosts.toml": hosts("default"),
    };
    expect(first(locationsWith(byDefault), "quay.io/a")).toBe("podman.example");
    expect(first(locationsWith(byDefault), "ghcr.io/a")).toBe("default.example");
  });

  it("what is blocked stays blocked", () => {
    const own = {
      "containers/registries.conf": rules,
      "containerd/certs.d/quay.io/hosts.toml": hosts("own"),
    };
    expect(failureFrom(() => first(locationsWith(own), "quay.io/bad/a")).code).toBe("USAGE");
  });
});

describe("short names", () => {
  const aliases = `unqualified-search-registries = ["search.example"]
    [aliases]
    "fedora" = "registry.example/fedora"
    "org/tool" = "quay.io/org/tool"
    "gone" = "quay.io/gone"
    "localhost" = "quay.io/wrong"
  `;

  it.each([
    ["fedora", "registry.example/fedora"],
    ["fedora:41", "registry.example/fedora:41"],
    [`fedora@${digest}`, `registry.example/fedora@${digest}`],
    ["org/tool:v1", "quay.io/org/tool:v1"],
    ["debian", "debian"],
    ["docker.io/library/fedora", "docker.io/library/fedora"],
    ["localhost:5000/fedora", "localhost:5000/fedora"],
  ])("%s is %s", (text, expanded) => {
    expect(conf(aliases).expandShortName(text)).toBe(expanded);
  });

  it("are taken back by an empty alias in a later file", () => {
    const locations = locationsWith({
      "containers/registries.conf": aliases,
      "containers/registries.conf.d/a.conf": '[aliases]\n"gone" = ""\n"fedora" = "other.example/fedora"',
    });
    expect(locations.expandShortName("gone")).toBe("gone");
    expect(locations.expandShortName("fedora")).toBe("other.example/fedora");
  });

  it.each([
    "registry.example/fedora:latest",
    "library/fedora",
    "registry.example/",
    "registry.example/UPPER",
  ])("that stand for %s are USAGE", (target) => {
    const failure = failureFrom(() => conf(`[aliases]\nfedora = "${target}"`).expandShortName("fedora"));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("containers/registries.conf");
  });
});
