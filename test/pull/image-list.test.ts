import { describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { parseImageList } from "../../src/pull/image-list.js";

async function imagesOf(text: string): Promise<unknown> {
  return (await parseImageList(text, "list")).images;
}

describe("a plain list", () => {
  it("has a reference per line; comments, empty lines and carriage returns do not count", async () => {
    const text = "# fleet\r\nquay.io/org/a:v1\r\n\n  quay.io/org/b:v2  # the other\nquay.io/org/a:v1\n";
    expect(await imagesOf(text)).toEqual([
      { reference: "quay.io/org/a:v1" },
      { reference: "quay.io/org/b:v2" },
    ]);
  });

  it("that is empty names nothing", async () => {
    expect(await imagesOf("\n# nothing\n")).toEqual([]);
  });
});

const application = `apiVersion: bpfman.io/v1alpha1
kind: ClusterBpfApplication
metadata:
  name: counter
spec:
  nodeSelector: {}
  byteCode:
    image:
      url: quay.io/bpfman-bytecode/go-xdp-counter:latest
      imagePullPolicy: always
  programs:
    - name: xdp_stats
      type: XDP
`;

describe("Kubernetes resources", () => {
  it("of bpfman name their image and its pull policy", async () => {
    expect(await imagesOf(application)).toEqual([
      { reference: "quay.io/bpfman-bytecode/go-xdp-counter:latest", pullPolicy: "Always" },
    ]);
  });

  it("of bpfman before 0.6 spell bytecode in small letters", async () => {
    const text =
      "apiVersion: bpfman.io/v1alpha1\nkind: XdpProgram\nspec:\n  bytecode:\n    image: {url: quay.io/a/b:v1}\n";
    expect(await imagesOf(text)).toEqual([{ reference: "quay.io/a/b:v1" }]);
  });

  it("come as many documents, of which every one counts; others are noted", async () => {
    const text = `---\n${application}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\n---\n${application.replace("ClusterBpf", "Bpf").replace("latest", "v2")}`;
    const { images, notes } = await parseImageList(text, "all.yaml");
    expect(images.map(({ reference }) => reference)).toEqual([
      "quay.io/bpfman-bytecode/go-xdp-counter:latest",
      "quay.io/bpfman-bytecode/go-xdp-counter:v2",
    ]);
    expect(notes).toEqual(["all.yaml: Deployment web names no bytecode image"]);
  });

  it("come as a List in JSON, as kubectl get -o json prints them", async () => {
    const item = {
      apiVersion: "bpfman.io/v1alpha1",
      kind: "BpfApplication",
      spec: { byteCode: { image: { url: "quay.io/a/b:v1", imagePullPolicy: "IfNotPresent" } } },
    };
    const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: [item, item] }, null, 2);
    expect(await imagesOf(text)).toEqual([{ reference: "quay.io/a/b:v1", pullPolicy: "IfNotPresent" }]);
  });

  it("whose bytecode is a path are noted", async () => {
    const text = application.replace(/image:[\s\S]*always/, "path: /opt/x.o");
    expect(await parseImageList(text, "f")).toEqual({
      images: [],
      notes: ["f: ClusterBpfApplication counter names no bytecode image"],
    });
  });

  it("that are ConfigMaps list images in those entries that are lists", async () => {
    const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: fleet}
data:
  images: |
    # edge
    quay.io/org/a:v1
    quay.io/org/b@sha256:${"a".repeat(64)}
  policy: strict
  settings.ini: |
    key = value
`;
    expect(await imagesOf(text)).toEqual([
      { reference: "quay.io/org/a:v1" },
      { reference: `quay.io/org/b@sha256:${"a".repeat(64)}` },
    ]);
  });

  it.each([
    ["malformed YAML", "apiVersion: [\n"],
    ["a pull policy that is none", application.replace("always", "Sometimes")],
    ["a pull policy that is no text", application.replace("always", "[1]")],
  ])("with %s are USAGE", async (_, text) => {
    await expect(parseImageList(text, "f.yaml")).rejects.toMatchObject({ code: "USAGE" });
  });

  it("that say things over and over by aliases are USAGE", async () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(", ")}]`,
    );
    const text = `apiVersion: bpfman.io/v1\nl0: &l0 [x]\n${levels.join("\n")}\n`;
    await expect(parseImageList(text, "bomb.yaml")).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("the pull policy of a list", () => {
  const image = { reference: "127.0.0.1:1/org/a:v1", pullPolicy: "Never" } as const;

  it("counts where nobody said another", async () => {
    await using cache = await openCache();
    const { failed } = await cache.prefetch([image]);
    expect(failed).toMatchObject([{ reference: image.reference, code: "NOT_CACHED" }]);
  });

  it("gives way to the caller's", async () => {
    await using cache = await openCache({ pullPolicy: "Always", limits: { retries: 0 } });
    const { failed } = await cache.prefetch([image]);
    expect(failed).toMatchObject([{ reference: image.reference, code: "UNREACHABLE" }]);
  });
});
