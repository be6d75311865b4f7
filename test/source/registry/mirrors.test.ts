import { describe, expect, it } from "vitest";
import { parseReference } from "../../../src/core/reference.js";
import type { Credential } from "../../../src/source/credentials/credential.js";
import { directoryWith } from "../locations/support.js";
import { hangUp, silence, status, times } from "./fault-server.js";
import {
  deadUrl,
  publish,
  siteOptions,
  sourceWithConf,
  sourceWithHosts,
  startSite,
  urlOf,
} from "./mirrors-support.js";
import {
  failureOf,
  fetchBytes,
  pullImage,
  recorder,
  sourceFor,
  startRegistry,
  startServer,
  TestClock,
} from "./support.js";
import { basic, type TestRegistry } from "./test-registry.js";

function only(registries: readonly TestRegistry[]): TestRegistry {
  const [registry] = registries;
  if (registry === undefined) throw new Error("no mirror was started");
  return registry;
}

describe("a mirror in hosts.toml", () => {
  it("answers instead of the registry, and is told for which one", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(site.upstream.server.log).toEqual([]);
    expect(mirror.server.log[0]).toBe(`GET /v2/org/program/manifests/v1?ns=${encodeURIComponent(site.host)}`);
    expect(
      mirror.server.seen.every(({ path }) => path.endsWith(`?ns=${encodeURIComponent(site.host)}`)),
    ).toBe(true);
  });

  it("that is dead costs nothing but itself", async () => {
    const site = await startSite();
    const image = publish(site.host, [site.upstream]);
    const source = sourceWithHosts(site, `[host."${deadUrl}"]`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(site.upstream.server.log).toHaveLength(3);
    expect(site.upstream.server.log.join()).not.toContain("ns=");
  });

  it("without the image leaves it to the registry", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [site.upstream]);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(mirror.server.log).toHaveLength(3);
  });

  it("follows one that failed", async () => {
    const site = await startSite(2);
    const [first, second] = site.mirrors as [TestRegistry, TestRegistry];
    const image = publish(site.host, [second]);
    const source = sourceWithHosts(
      site,
      `[host."${deadUrl}"]\n[host."${urlOf(first)}"]\n[host."${urlOf(second, "second.example")}"]`,
    );
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(first.server.log).toHaveLength(3);
    expect(site.upstream.server.log).toEqual([]);
  });

  it.each([
    ["503", status(503)],
    ["429 with a long wait", status(429, { "retry-after": "50" })],
    ["a login it wants", status(401, { "www-authenticate": 'Basic realm="x"' })],
    ["a broken connection", hangUp],
    ["a page for a browser", status(200, { "content-type": "text/html" }, "<html>Log in, please</html>")],
    ["a body that is not the blob's", status(200, {}, "something else")],
    ["a blob that is too long", status(200, {}, "x".repeat(5_000))],
  ])("that answers with %s is passed over, without waiting long", async (_, responder) => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    mirror.server.on(/./, ...times(20, responder));
    const image = publish(site.host, [site.upstream]);
    const clock = new TestClock();
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { clock });
    const found = await source.resolve(image.reference);
    expect(found).toMatchObject({ descriptor: { digest: image.descriptor.digest } });
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(clock.sleeps.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(1_000);
  });

  it("that breaks off in the middle of a blob is passed over", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror, site.upstream]);
    mirror.server.on(
      new RegExp(image.layer.digest),
      ...times(9, (_, response) => {
        response.writeHead(200, { "content-length": image.layer.size });
        response.write(image.layerBytes.subarray(0, 100), () => response.destroy());
      }),
    );
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(site.upstream.server.log).toHaveLength(1);
  });

  it("that serves a wrong digest is passed over, with a warning that names it", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror, site.upstream]);
    const wrong = Buffer.from(image.layerBytes).fill(0);
    mirror.server.on(new RegExp(image.layer.digest), status(200, {}, wrong.toString("latin1")));
    const { events, onEvent } = recorder();
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    expect(await pullImage(source, image, { onEvent })).toEqual(image.layerBytes);
    const warnings = events.filter(({ event }) => event === "warning");
    expect(warnings).toMatchObject([{ message: expect.stringContaining("mirror.example") }]);
    expect(warnings).toMatchObject([{ message: expect.stringContaining(image.layer.digest) }]);
  });

  it("that serves a wrong manifest for a digest is passed over", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [site.upstream]);
    const other = publish(site.host, [mirror]);
    const path = `/v2/org/program/manifests/${image.descriptor.digest}`;
    mirror.server.on(({ path: asked }) => asked.startsWith(path), status(200, {}, other.manifest.toString()));
    const pinned = parseReference(`${site.host}/org/program@${image.descriptor.digest}`);
    const found = await sourceWithHosts(site, `[host."${urlOf(mirror)}"]`).resolve(pinned);
    expect(found).toMatchObject({ descriptor: { digest: image.descriptor.digest } });
    expect(mirror.server.log).toHaveLength(1);
  });

  it("that may not resolve is asked for digests only", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror, site.upstream]);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]\ncapabilities = ["pull"]`);
    await pullImage(source, image);
    expect(site.upstream.server.log).toEqual(["GET /v2/org/program/manifests/v1"]);
    expect(mirror.server.log.every((line) => line.includes("/blobs/"))).toBe(true);
    await source.resolve(parseReference(`${site.host}/org/program:v1@${image.descriptor.digest}`));
    expect(mirror.server.log.at(-1)).toContain(`/manifests/${image.descriptor.digest}?ns=`);
  });

  it("has its API where override_path says", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror], "proxied/org/program");
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}/v2/proxied"]\noverride_path = true`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(mirror.server.log[0]).toContain("GET /v2/proxied/org/program/manifests/v1?ns=");
  });

  it("that is given tokens for what lies below its path, by its own token service", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "bearer" });
    const image = publish(site.host, [mirror], "proxied/org/program");
    // The realm is of this machine, where a remote registry may not send us; under its own origin it may.
    mirror.auth = { kind: "bearer", realm: `${urlOf(mirror)}/token` };
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}/v2/proxied"]\noverride_path = true`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(mirror.rejected).toBe(1);
  });

  it("in the server's place is the only one asked", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror, site.upstream]);
    const source = sourceWithHosts(site, `server = "${urlOf(mirror)}"`);
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(site.upstream.server.log).toEqual([]);
  });

  it("may have a proxy of its own", async () => {
    const site = await startSite();
    const image = publish(site.host, [site.upstream]);
    const proxy = await startServer();
    const source = sourceWithHosts(site, `[host."http://far.example"]\nproxy = "${proxy.origin}"`);
    await pullImage(source, image);
    expect(proxy.log[0]).toContain("GET http://far.example/v2/org/program/manifests/v1?ns=");
    expect(proxy.log).toHaveLength(3);
  });

  it("may know unchanged tags, too", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    const known = { digest: image.descriptor.digest };
    expect(await source.resolve(image.reference, { known })).toMatchObject({ unchanged: true });
  });

  it("is looked up only when something has to be asked", async () => {
    const source = sourceFor({ hostsDirectory: "/no/such/directory", registriesConf: "/no/such/file" });
    const reference = parseReference(`registry.example/a@sha256:${"a".repeat(64)}`);
    const { digest } = reference;
    if (digest === undefined) throw new Error("it has a digest");
    expect(await source.resolve(reference, { known: { digest } })).toMatchObject({ unchanged: true });
    expect((await failureOf(source.resolve(reference))).code).toBe("USAGE");
  });
});

describe("when every place fails", () => {
  it("the registry's own code stands, and the message names each place and its reason", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    mirror.server.on(/./, ...times(9, status(500)));
    const source = sourceWithHosts(site, `[host."${deadUrl}"]\n[host."${urlOf(mirror)}"]`);
    const failure = await failureOf(source.resolve(parseReference(`${site.host}/org/program:v1`)));
    expect(failure).toMatchObject({ code: "NOT_FOUND", reference: `${site.host}/org/program:v1` });
    expect(failure.message).toMatch(/^upstream\.example:\d+ has no image org\/program:v1 \(status 404/);
    expect(failure.message).toContain("dead.example:9 cannot be reached: nothing listens there");
    expect(failure.message).toMatch(/mirror\.example:\d+ did not serve .* \(status 500\)/);
  });

  it("a mirror at rest is named with the reason it rests for", async () => {
    const site = await startSite();
    const source = sourceWithHosts(site, `[host."${deadUrl}"]`);
    const reference = parseReference(`${site.host}/org/program:v1`);
    await failureOf(source.resolve(reference));
    expect((await failureOf(source.resolve(reference))).message).toContain(
      "dead.example:9 cannot be reached",
    );
  });

  it("one that is not allowed for tags is not named for a tag", async () => {
    const site = await startSite();
    const source = sourceWithHosts(site, `[host."${deadUrl}"]\ncapabilities = ["pull"]`);
    const failure = await failureOf(source.resolve(parseReference(`${site.host}/org/program:v1`)));
    expect(failure.message).not.toContain("dead.example");
  });

  it("nobody who may be asked is USAGE", async () => {
    const site = await startSite();
    const source = sourceWithHosts(site, 'capabilities = ["push"]');
    const failure = await failureOf(source.resolve(parseReference(`${site.host}/org/program:v1`)));
    expect(failure).toMatchObject({ code: "USAGE", hint: expect.stringContaining("hosts.toml") });
  });

  it("an abort ends the search at once", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    mirror.server.on(/./, silence);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    const asked = source.resolve(parseReference(`${site.host}/org/program:v1`), { signal: stop.signal });
    expect((await failureOf(asked)).code).toBe("INTERRUPTED");
    expect(site.upstream.server.log).toEqual([]);
  });
});

describe("a mirror that could not be reached", () => {
  /** How often the mirror was tried, by the failures that were passed over. */
  async function attempts(work: (onEvent: ReturnType<typeof recorder>["onEvent"]) => Promise<unknown>) {
    const { events, onEvent } = recorder();
    await work(onEvent);
    return events.filter((event) => event.event === "request" && event.url.includes("dead.example")).length;
  }

  it("is left alone for 30 seconds, then for twice as long each time", async () => {
    const site = await startSite();
    const clock = new TestClock();
    const image = publish(site.host, [site.upstream]);
    const source = sourceWithHosts(site, `[host."${deadUrl}"]`, { clock, limits: { retries: 0 } });
    const resolve = () => attempts((onEvent) => source.resolve(image.reference, { onEvent }));
    expect(await resolve()).toBe(1);
    expect(await resolve()).toBe(0);
    clock.advance(31_000);
    expect(await resolve()).toBe(1);
    clock.advance(31_000);
    expect(await resolve()).toBe(0);
    clock.advance(31_000);
    expect(await resolve()).toBe(1);
  });

  it("is asked all the same when the registry cannot be reached either", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    mirror.server.on(/./, hangUp, hangUp);
    site.upstream.server.on(/./, ...times(99, hangUp));
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { limits: { retries: 1 } });
    expect((await failureOf(source.resolve(image.reference))).code).toBe("UNREACHABLE");
    expect(await source.resolve(image.reference)).toMatchObject({ unchanged: false });
  });

  it("does not take its time twice: a timeout is not tried again", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    mirror.server.on(/./, ...times(9, silence));
    const image = publish(site.host, [site.upstream]);
    const limits = { headersTimeoutMs: 300 };
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { limits });
    await pullImage(source, image);
    expect(mirror.server.log).toHaveLength(1);
  });

  it("takes no longer than its dial_timeout", async () => {
    const site = await startSite();
    const image = publish(site.host, [site.upstream]);
    const usual = siteOptions(site).lookup;
    const lookup: typeof usual = (name, options, done) => {
      if (name !== "slow.example") usual?.(name, options, done);
    };
    const source = sourceWithHosts(site, '[host."https://slow.example"]\ndial_timeout = "50ms"', { lookup });
    const started = performance.now();
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("is left alone for as long as it asks to be", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    mirror.server.on(/./, status(429, { "retry-after": "100" }));
    const image = publish(site.host, [site.upstream]);
    const clock = new TestClock();
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { clock });
    await pullImage(source, image);
    clock.advance(90_000);
    await source.resolve(image.reference);
    expect(mirror.server.log).toHaveLength(1);
    clock.advance(11_000);
    await source.resolve(image.reference);
    expect(mirror.server.log).toHaveLength(2);
  });

  it("is not held against it when it merely lacks an image or fails with one", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [site.upstream]);
    mirror.server.on(/./, status(500), status(500));
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    await source.resolve(image.reference);
    await source.resolve(image.reference);
    expect(mirror.server.log).toHaveLength(3);
  });
});

describe("what is secret", () => {
  const secret: Credential = { kind: "password", username: "ann", password: "secret", from: "the test" };

  it("credentials of the registry do not reach a mirror that demands some", async () => {
    const site = await startSite(0, { kind: "basic", user: "ann:secret" });
    const mirror = await startRegistry({ kind: "basic", user: "ann:secret" });
    const image = publish(site.host, [mirror, site.upstream]);
    const asked: string[] = [];
    const credentials = {
      credentialFor: async (host: string) => {
        asked.push(host);
        return host === site.host ? secret : undefined;
      },
    };
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { credentials });
    await pullImage(source, image);
    expect(new Set(asked)).toEqual(new Set([`mirror.example:${mirror.server.port}`, site.host]));
    expect(mirror.server.seen.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    expect(
      site.upstream.server.seen.some(({ headers }) => headers.authorization === basic("ann:secret")),
    ).toBe(true);
  });

  it("a mirror's own credentials are filed under its name, and do not reach the registry", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "basic", user: "ann:secret" });
    const image = publish(site.host, [mirror]);
    const name = `mirror.example:${mirror.server.port}`;
    const credentials = { credentialFor: async (host: string) => (host === name ? secret : undefined) };
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { credentials });
    await pullImage(source, image);
    await failureOf(source.resolve(parseReference(`${site.host}/org/other:v1`)));
    expect(site.upstream.server.seen.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("headers of hosts.toml go to their host with every request, and to no other", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [site.upstream]);
    const text = `[host."${urlOf(mirror)}"]
      [host."${urlOf(mirror)}".header]
      x-key = "secret"
      authorization = "Basic eA=="`;
    await pullImage(sourceWithHosts(site, text), image);
    const headers = (registry: TestRegistry) =>
      registry.server.seen.map((request) => [request.headers["x-key"], request.headers.authorization]);
    expect(headers(mirror)).toEqual([1, 2, 3].map(() => ["secret", "Basic eA=="]));
    expect(headers(site.upstream)).toEqual([1, 2, 3].map(() => [undefined, undefined]));
  });

  it("headers do not follow a redirect to another port", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    const sink = await startServer();
    sink.fallback = (_, response) => response.writeHead(200).end(image.layerBytes);
    mirror.server.on(new RegExp(image.layer.digest), status(307, { location: `${sink.origin}/blob` }));
    const url = mirror.server.origin;
    const source = sourceWithHosts(site, `[host."${url}"]\n[host."${url}".header]\nx-key = "secret"`);
    expect(await fetchBytes(source, image.reference, image.layer)).toEqual(image.layerBytes);
    expect(sink.seen.map(({ headers }) => headers["x-key"])).toEqual([undefined]);
    expect(mirror.server.seen.map(({ headers }) => headers["x-key"])).toEqual(["secret"]);
  });
});

describe("a mirror in registries.conf", () => {
  it("is asked under the name that its location makes, and not told for whom", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror], "copies/program");
    const source = sourceWithConf(
      site,
      `[[registry]]\nprefix = "${site.host}/org"\nlocation = "${site.host}/org"
       [[registry.mirror]]\nlocation = "${mirror.server.host}/copies"`,
    );
    const found = await source.resolve(image.reference);
    expect(found).toMatchObject({ descriptor: { digest: image.descriptor.digest } });
    expect(mirror.server.log).toEqual(["GET /v2/copies/program/manifests/v1"]);
  });

  it("gets tokens for the repository as it is called there", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "bearer" });
    const image = publish(site.host, [mirror], "copies/program");
    const source = sourceWithConf(
      site,
      `[[registry]]\nlocation = "${site.host}/org"\n[[registry.mirror]]\nlocation = "${mirror.server.host}/copies"`,
    );
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(mirror.tokenLog).toHaveLength(1);
    expect(mirror.tokenLog[0]).toContain(encodeURIComponent("repository:copies/program:pull"));
  });

  it("for digests only or tags only is asked for those", async () => {
    const site = await startSite(2);
    const [byDigest, byTag] = site.mirrors as [TestRegistry, TestRegistry];
    const image = publish(site.host, [byDigest, byTag, site.upstream]);
    const source = sourceWithConf(
      site,
      `[[registry]]\nlocation = "${site.host}"
       [[registry.mirror]]\nlocation = "${byDigest.server.host}"\npull-from-mirror = "digest-only"
       [[registry.mirror]]\nlocation = "${byTag.server.host}"\npull-from-mirror = "tag-only"`,
    );
    await source.resolve(image.reference);
    expect([byDigest.server.log.length, byTag.server.log.length]).toEqual([0, 1]);
    await source.resolve(parseReference(`${site.host}/org/program@${image.descriptor.digest}`));
    expect([byDigest.server.log.length, byTag.server.log.length]).toEqual([1, 1]);
    expect(site.upstream.server.log).toEqual([]);
  });

  it("that is insecure may speak http, whatever its name", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    const conf = (more: string) => `[[registry]]\nlocation = "${site.host}"
      [[registry.mirror]]\nlocation = "mirror.example:${mirror.server.port}"\n${more}`;
    expect(await pullImage(sourceWithConf(site, conf("insecure = true")), image)).toEqual(image.layerBytes);
    const failure = await failureOf(sourceWithConf(site, conf("")).resolve(image.reference));
    expect(failure.message).toContain("mirror.example");
  });

  it("may stand for a registry altogether", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const image = publish(site.host, [mirror]);
    const source = sourceWithConf(
      site,
      `[[registry]]\nprefix = "${site.host}"\nlocation = "${mirror.server.host}"`,
    );
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    expect(site.upstream.server.log).toEqual([]);
  });

  it("what is blocked is asked of nobody", async () => {
    const site = await startSite();
    const image = publish(site.host, [site.upstream]);
    const source = sourceWithConf(site, `[[registry]]\nlocation = "${site.host}"\nblocked = true`);
    const failure = await failureOf(source.resolve(image.reference));
    expect(failure).toMatchObject({ code: "USAGE", reference: image.reference.toString() });
    expect(failure.hint).toContain("registries.conf");
    expect((await failureOf(source.fetch(image.reference, image.layer))).code).toBe("USAGE");
    expect(site.upstream.server.log).toEqual([]);
  });
});

describe("a mirror asked for referrers", () => {
  const subject = `sha256:${"a".repeat(64)}` as never;
  const listed = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: subject, size: 3 };
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [listed],
  });
  const lists = status(200, { "content-type": "application/vnd.oci.image.index.v1+json" }, index);

  it("that has none leaves it to the registry: it may not keep them", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    site.upstream.server.on(/\/referrers\//, lists);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    const found = await source.referrers(parseReference(`${site.host}/org/program:v1`), subject);
    expect(found).toMatchObject([listed]);
    expect(mirror.server.log).toHaveLength(5);
  });

  it("is not believed to know of none when the registry cannot be reached", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    site.upstream.server.on(/./, ...times(9, hangUp));
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`, { limits: { retries: 0 } });
    const failure = await failureOf(source.referrers(parseReference(`${site.host}/org/program:v1`), subject));
    expect(failure.code).toBe("UNREACHABLE");
  });

  it("answers when it has some, page by page", async () => {
    const site = await startSite();
    const mirror = only(site.mirrors);
    const type = { "content-type": "application/vnd.oci.image.index.v1+json" };
    const next = { ...type, link: `</v2/org/program/referrers/${subject}?last=x%2Fy>; rel="next"` };
    const last = { ...type, link: `</v2/org/program/referrers/${subject}?ns=kept&n=3>; rel="next"` };
    const third = index.replace("a".repeat(64), "b".repeat(64));
    const answers = [status(200, next, index), status(200, last, index), status(200, type, third)];
    mirror.server.on(/\/referrers\//, ...answers);
    const source = sourceWithHosts(site, `[host."${urlOf(mirror)}"]`);
    const found = await source.referrers(parseReference(`${site.host}/org/program:v1`), subject);
    expect(found).toMatchObject([listed, { ...listed, digest: `sha256:${"b".repeat(64)}` }]);
    const pages = mirror.server.log.filter((line) => line.includes("/referrers/"));
    expect(pages[1]).toContain(`?last=x%2Fy&ns=${encodeURIComponent(site.host)}`);
    expect(pages[2]?.endsWith("?ns=kept&n=3")).toBe(true);
    expect(site.upstream.server.log).toEqual([]);
  });
});

describe("both files", () => {
  it("hosts.toml of a registry comes before registries.conf", async () => {
    const site = await startSite(2);
    const [first, second] = site.mirrors as [TestRegistry, TestRegistry];
    const image = publish(site.host, [first, second]);
    const registriesConf = `${directoryWith({
      c: `[[registry]]\nlocation = "${site.host}"\n[[registry.mirror]]\nlocation = "${second.server.host}"`,
    })}/c`;
    const hostsDirectory = directoryWith({ [`${site.host}/hosts.toml`]: `[host."${urlOf(first)}"]` });
    await pullImage(sourceFor({ ...siteOptions(site), registriesConf, hostsDirectory }), image);
    expect([first.server.log.length, second.server.log.length]).toEqual([3, 0]);
  });
});
