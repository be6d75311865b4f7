import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Locations } from "../../../src/source/locations/locations.js";
import { directoryWith, failureFrom, locate, locationsWith, placesOf } from "./support.js";

const certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
const reference = "quay.io/org/program:v1";

/** Locations whose hosts.toml for quay.io is this. */
function quay(text: string, beside: Readonly<Record<string, string>> = {}): Locations {
  const files = Object.entries(beside).map(([name, content]) => [
    `containerd/certs.d/quay.io/${name}`,
    content,
  ]);
  return locationsWith({ ...Object.fromEntries(files), "containerd/certs.d/quay.io/hosts.toml": text });
}

describe("without configuration", () => {
  it("a reference is asked for at its own registry, by the client's own rules", () => {
    expect(locate(locationsWith({}), reference)).toEqual([
      {
        host: "quay.io",
        repository: "org/program",
        apiPath: "/v2",
        capabilities: new Set(["pull", "resolve", "referrers"]),
      },
    ]);
  });
});

describe("hosts.toml", () => {
  it("has its hosts asked in the order of the file, and the server last", () => {
    const locations = quay(`
      server = "https://upstream.example"
      [host."https://z.example"]
      [host."http://a.example:5000"]
      [host."m.example"]
    `);
    expect(placesOf(locations, reference)).toEqual([
      "https:z.example/org/program",
      "http:a.example:5000/org/program",
      "https:m.example/org/program",
      "https:upstream.example/org/program",
    ]);
  });

  it("has the registry itself last when it names no server, with the options of its top", () => {
    const [, last] = locate(quay('dial_timeout = "2s"\n[host."https://m.example"]'), reference);
    expect(last).toMatchObject({
      host: "quay.io",
      connection: { connectTimeoutMs: 2_000 },
    });
  });

  it("tells others than the registry on whose behalf they are asked", () => {
    const locations = quay('server = "https://quay.io"\n[host."https://m.example"]');
    expect(locate(locations, reference).map(({ namespace }) => namespace)).toEqual(["quay.io", undefined]);
  });

  it("knows Docker Hub by all of its names", () => {
    const text = 'server = "https://registry-1.docker.io"\n[host."https://docker.io"]';
    const locations = locationsWith({ "containerd/certs.d/docker.io/hosts.toml": text });
    const found = locate(locations, "busybox");
    expect(found.map(({ host, namespace }) => [host, namespace])).toEqual([
      ["docker.io", undefined],
      ["docker.io", undefined],
    ]);
  });

  it("says what a host is trusted with; everything unless it says something", () => {
    const locations = quay('[host."https://m.example"]\ncapabilities = ["Pull", "push"]');
    const [mirror, upstream] = locate(locations, reference);
    expect(mirror?.capabilities).toEqual(new Set(["pull"]));
    expect(upstream?.capabilities).toEqual(new Set(["pull", "resolve", "referrers"]));
  });

  it.each([
    ["https://m.example", "/v2"],
    ["https://m.example/", "/v2"],
    ["https://m.example/v2", "/v2"],
    ["https://m.example/proxy//quay/", "/proxy/quay/v2"],
    ["https://m.example/v2/quay", "/v2/quay/v2"],
  ])("puts the API of %s at %s", (url, path) => {
    expect(locate(quay(`[host."${url}"]`), reference)[0]?.apiPath).toBe(path);
  });

  it.each([
    ["https://m.example/v2/quay/", "/v2/quay"],
    ["https://m.example", ""],
  ])("puts the API of %s at %j when override_path is set", (url, path) => {
    expect(locate(quay(`[host."${url}"]\noverride_path = true`), reference)[0]?.apiPath).toBe(path);
  });

  it("reads authorities and client certificates beside itself", () => {
    const locations = quay(
      `[host."https://one.example"]
       ca = "ca.crt"
       client = "both.pem"
       [host."https://list.example"]
       ca = ["ca.crt", "ca.crt"]
       client = ["both.pem"]
       [host."https://pairs.example"]
       client = [["client.cert", "client.key"], ["both.pem", ""]]`,
      { "ca.crt": certificate, "both.pem": certificate + key, "client.cert": certificate, "client.key": key },
    );
    const [one, list, pairs] = locate(locations, reference).map(({ connection }) => connection);
    expect(one).toMatchObject({ ca: [certificate], cert: [certificate + key], key: [certificate + key] });
    expect(list).toMatchObject({ ca: [certificate, certificate], cert: [certificate + key] });
    expect(pairs).toMatchObject({ cert: [certificate, certificate + key], key: [key, certificate + key] });
  });

  it("reads files by their absolute path", () => {
    const elsewhere = join(directoryWith({ "ca.crt": certificate }), "ca.crt");
    expect(locate(quay(`ca = "${elsewhere}"`), reference)[0]?.connection?.ca).toEqual([certificate]);
  });

  it("has headers for a host, lists joined", () => {
    const locations = quay(`[host."https://m.example"]
      [host."https://m.example".header]
      X-One = "1"
      x-two = ["a", "b"]`);
    expect(locate(locations, reference).map(({ headers }) => headers)).toEqual([
      { "x-one": "1", "x-two": "a, b" },
      undefined,
    ]);
  });

  it("has an http host with anything about TLS tried over https first, as containerd does", () => {
    const locations = quay('[host."http://192.0.2.1:5000"]\nskip_verify = true');
    expect(locate(locations, reference)[0]).toMatchObject({
      schemes: ["https:", "http:"],
      connection: { skipsVerification: true },
    });
  });

  it("may send a host's requests through a proxy of its own", () => {
    const locations = quay('[host."https://m.example"]\nproxy = "http://proxy.example:3128"');
    expect(locate(locations, reference)[0]?.connection?.proxy).toBe("http://proxy.example:3128");
  });

  it("is passed over where it says what a later containerd may know", () => {
    expect(placesOf(quay('novelty = [1, 2]\n[host."https://m.example"]\nother = 1'), reference)).toHaveLength(
      2,
    );
  });
});

describe("the tree of hosts.toml files", () => {
  const mirror = (name: string) => `[host."https://${name}.example"]`;
  const first = (locations: Locations, text: string) => locate(locations, text)[0]?.host;

  it("has a registry with a port under host_port_ or else host:port, never under the host", () => {
    const both = {
      "containerd/certs.d/r.example_5000_/hosts.toml": mirror("underscores"),
      "containerd/certs.d/r.example:5000/hosts.toml": mirror("colon"),
      "containerd/certs.d/r.example:6000/hosts.toml": mirror("colon"),
      "containerd/certs.d/r.example/hosts.toml": mirror("host"),
    };
    const locations = locationsWith(both);
    expect(first(locations, "r.example:5000/a")).toBe("underscores.example");
    expect(first(locations, "r.example:6000/a")).toBe("colon.example");
    expect(first(locations, "r.example/a")).toBe("host.example");
    expect(first(locations, "r.example:7000/a")).toBe("r.example:7000");
  });

  it("has _default for every registry without a directory of its own", () => {
    const locations = locationsWith({
      "containerd/certs.d/_default/hosts.toml": mirror("default"),
      "containerd/certs.d/quay.io/hosts.toml": mirror("quay"),
      "containerd/certs.d/ghcr.io/ca.crt": certificate,
    });
    expect(first(locations, "r.example/a")).toBe("default.example");
    expect(first(locations, reference)).toBe("quay.example");
    expect(first(locations, "ghcr.io/a/b")).toBe("ghcr.io");
  });

  it("may have certificates instead of a hosts.toml, which count wherever that host is asked", () => {
    const locations = locationsWith({
      "containerd/certs.d/quay.io/ca.crt": certificate,
      "containerd/certs.d/quay.io/client.cert": certificate,
      "containerd/certs.d/quay.io/client.key": key,
    });
    expect(locate(locations, reference)[0]?.connection).toEqual({
      ca: [certificate],
      cert: [certificate],
      key: [key],
      skipsVerification: false,
    });
  });

  it("is read once, and only what is needed of it", () => {
    const hostsDirectory = directoryWith({
      "quay.io/hosts.toml": mirror("quay"),
      "ghcr.io/hosts.toml": "this is not TOML",
    });
    const locations = locationsWith({}, { hostsDirectory });
    const [before] = locate(locations, reference);
    expect(locate(locations, reference)[0]?.connection).toBe(before?.connection);
    expect(before?.host).toBe("quay.example");
  });

  it("that was named has to be there", () => {
    const locations = locationsWith({}, { hostsDirectory: "/no/such/directory" });
    const failure = failureFrom(() => locate(locations, reference));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("/no/such/directory");
  });
});

describe("a hosts.toml that is wrong", () => {
  it("is USAGE with file, line and column, and does not quote the file", () => {
    const text = '[host."https://m.example".header]\nauthorization = "Basic c2VjcmV0"\nx = [\n';
    const failure = failureFrom(() => locate(quay(text), reference));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toMatch(/quay\.io\/hosts\.toml is malformed: line \d+, column \d+: ./);
    expect(failure.message).not.toContain("c2VjcmV0");
  });

  it.each([
    ["skip_verify = 1", "skip_verify: must be true or false"],
    [
      '[host."https://m.example"]\ncapabilities = ["fly"]',
      'host."https://m.example".capabilities[0]: must be pull',
    ],
    ['[host."https://m.example"]\nca = 1', 'host."https://m.example".ca: must be a path or a list of paths'],
    ['[host."https://m.example"]\nclient = [["a"]]', "client: must be a path"],
    ['[host."https://m.example".header]\n"a b" = "x"', "header"],
    ['[host."https://m.example".header]\na = "x\\ny"', "header.a: is not the value of a header"],
    ['[host."https://m.example".header]\nTransfer-Encoding = "x"', "cannot be set"],
    ['[host."ftp://m.example"]', "over http or https"],
    ['[host."https://ann:secret@m.example"]', "password"],
    ['[host."https://m.example?x=1"]', "more than a path"],
    ['[host."https://"]', "is not a URL"],
    ['dial_timeout = "soon"', '"soon" is not a dial_timeout'],
    ['proxy = "socks5://p.example"', "proxy"],
  ])("is USAGE for %s", (text, reason) => {
    const failure = failureFrom(() => locate(quay(text), reference));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("quay.io/hosts.toml");
    expect(failure.message).toContain(reason);
    expect(failure.message).not.toContain("secret");
  });

  it.each([
    ['ca = "missing.crt"', "missing.crt"],
    ['client = [["ca.crt", "missing.key"]]', "missing.key"],
    ['client = "ca.crt"', "no private key"],
    ['ca = "hosts.toml"', "no certificate"],
  ])("is USAGE for %s", (text, reason) => {
    const failure = failureFrom(() => locate(quay(text, { "ca.crt": certificate }), reference));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain(reason);
  });
});
