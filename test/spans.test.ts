import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  type Attributes,
  type Context,
  type Span,
  type SpanOptions,
  type SpanStatus,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { failureOf, imageNamed, openTestCache, startRegistry, temporaryDirectory } from "./pull/support.js";
import { mainProgram, run } from "./reliability/processes.js";

const dist = dirname(dirname(mainProgram));
const packages = join(dirname(dist), "node_modules");

/** A span as a tracer of OpenTelemetry's SDK would export it. */
interface Recorded {
  readonly name: string;
  readonly kind: number | undefined;
  readonly parent: string | undefined;
  readonly attributes: Attributes;
  readonly events: string[];
  status: SpanStatus | undefined;
  hasEnded: boolean;
}

const recorded: Recorded[] = [];

/** As much of a tracer as is needed to see what is handed to the API; it keeps all in memory. */
const tracer: Tracer = {
  startSpan(name: string, options: SpanOptions = {}, context?: Context): Span {
    const parentSpan = context && trace.getSpan(context);
    const parent = parentSpan && spans.get(parentSpan)?.name;
    const record: Recorded = {
      name,
      kind: options.kind,
      parent,
      attributes: { ...options.attributes },
      events: [],
      status: undefined,
      hasEnded: false,
    };
    recorded.push(record);
    const span = spanOf(record);
    spans.set(span, record);
    return span;
  },
  startActiveSpan: () => {
    throw new Error("not used");
  },
};

const spans = new Map<Span, Recorded>();

function spanOf(record: Recorded): Span {
  const span: Span = {
    spanContext: () => ({
      traceId: "0".repeat(31).concat("1"),
      spanId: "0".repeat(15).concat("1"),
      traceFlags: 1,
    }),
    setAttribute: (key, value) => {
      record.attributes[key] = value;
      return span;
    },
    setAttributes: (attributes) => {
      Object.assign(record.attributes, attributes);
      return span;
    },
    addEvent: (name) => {
      record.events.push(name);
      return span;
    },
    addLink: () => span,
    addLinks: () => span,
    setStatus: (status) => {
      record.status = status;
      return span;
    },
    updateName: () => span,
    end: () => {
      record.hasEnded = true;
    },
    isRecording: () => !record.hasEnded,
    recordException: () => {},
  };
  return span;
}

trace.setGlobalTracerProvider({ getTracer: () => tracer });
afterAll(() => trace.disable());
beforeEach(() => {
  recorded.length = 0;
});

describe("OpenTelemetry", () => {
  it("gets a span of a pull, with its events, and one of each request below it", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const reference = registry.reference("org/prog:v1");
    const cache = await openTestCache();
    const image = await cache.pull(reference);
    const [pull, ...requests] = recorded;
    expect(pull).toMatchObject({
      name: "bpfcache pull",
      parent: undefined,
      events: ["miss", "resolved", "published"],
      status: undefined,
      hasEnded: true,
    });
    expect(pull?.attributes).toMatchObject({
      "bpfcache.references": [reference],
      "bpfcache.from": "registry",
      "bpfcache.root_digest": image.rootDigest,
    });
    expect(requests).toHaveLength(registry.requests.length);
    for (const request of requests)
      expect(request).toMatchObject({
        name: "GET",
        kind: 2, // CLIENT
        parent: "bpfcache pull",
        hasEnded: true,
        attributes: {
          "http.request.method": "GET",
          "http.response.status_code": 200,
          "server.address": "127.0.0.1",
          "bpfcache.role": "registry",
        },
      });
  });

  it("gets the pulls of a batch below it, each with its own requests", async () => {
    const registry = await startRegistry();
    for (const name of ["one", "two"]) registry.add(`org/${name}:v1`, imageNamed(name));
    const cache = await openTestCache();
    await cache.prefetch(["one", "two"].map((name) => registry.reference(`org/${name}:v1`)));
    expect(recorded.filter(({ name }) => name === "bpfcache pull").map(({ parent }) => parent)).toEqual([
      "bpfcache prefetch",
      "bpfcache prefetch",
    ]);
    expect(recorded.filter(({ name }) => name === "GET").map(({ parent }) => parent)).not.toContain(
      "bpfcache prefetch",
    );
  });

  it("gets a failure as an error, with its code", async () => {
    const registry = await startRegistry();
    const cache = await openTestCache();
    await failureOf(cache.pull(registry.reference("org/none:v1")));
    const [pull, request] = recorded;
    expect(pull).toMatchObject({
      hasEnded: true,
      status: { code: 2 },
      attributes: { "error.type": "NOT_FOUND" },
    });
    expect(request).toMatchObject({ status: { code: 2 } });
  });

  it("is not needed: a cache is the same where its API is not installed", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const directory = temporaryDirectory();
    cpSync(dist, join(directory, "dist"), { recursive: true });
    writeFileSync(join(directory, "package.json"), '{"type":"module"}');
    mkdirSync(join(directory, "node_modules"));
    for (const name of readdirSync(packages).filter(
      (each) => each !== "@opentelemetry" && !each.startsWith("."),
    ))
      symlinkSync(join(packages, name), join(directory, "node_modules", name));
    const script = `
      import { openCache } from "./dist/packed/index.js";
      const cache = await openCache({ platform: "linux/amd64" });
      console.log((await cache.pull("${registry.reference("org/prog:v1")}")).from);
      await cache.close();
      await import("@opentelemetry/api").catch(({ code }) => console.log(code));`;
    const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", script], {
      cwd: directory,
    });
    expect({ stdout, stderr }).toEqual({ stdout: "registry\nERR_MODULE_NOT_FOUND\n", stderr: "" });
  });
});
