import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Digest } from "../../src/core/digest.js";
import { BpfcacheError } from "../../src/core/errors.js";
import { parsePlatform } from "../../src/core/platform.js";
import { parseReference } from "../../src/core/reference.js";
import type { RequireTrusted } from "../../src/store/bytecode.js";
import { Environment } from "../../src/store/environment.js";
import { ReadOnlyStore } from "../../src/store/read-only-store.js";
import { openTestCache, temporaryDirectory } from "../pull/support.js";
import { bytecodeImage, minimalBpfElf, type TestImage, writeLayout } from "../support/image-builder.js";

const amd64 = parsePlatform("linux/amd64");
const name = "registry.example/org/prog:v1";
const reference = parseReference(name);

function imageOf(...programs: readonly string[]): TestImage {
  const objects = programs.map((program) => ({
    path: `${program}.o`,
    bytes: minimalBpfElf({ programs: [{ name: program }] }),
  }));
  return bytecodeImage({ objects });
}

async function seed(directory: string, image: TestImage): Promise<void> {
  const layout = temporaryDirectory();
  writeLayout(layout, [{ name, root: image }]);
  await using cache = await openTestCache({ directory });
  const { failed } = await cache.seed([layout], { overwrite: true });
  expect(failed).toEqual([]);
}

let directory: string;
let store: ReadOnlyStore;

beforeEach(async () => {
  directory = temporaryDirectory();
  await seed(directory, imageOf("first"));
  store = ReadOnlyStore.open(directory);
});

afterEach(() => store.close());

/** More than it takes to compare with what was read before. */
function readOften(requireTrusted?: RequireTrusted): void {
  for (let n = 0; n < 4; n++) store.objects.read(reference, amd64, {}, requireTrusted);
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof BpfcacheError ? error.code : String(error);
  }
}

const refuse: RequireTrusted = () => {
  throw new BpfcacheError("UNTRUSTED", "it is refused");
};

describe("what has been read before", () => {
  it("is asked to be trusted at every read, by the root that it means", () => {
    const asked: Digest[] = [];
    readOften((_, root) => asked.push(root));
    expect(new Set(asked)).toEqual(new Set([store.objects.read(reference, amd64, {}).rootDigest]));
    expect(asked).toHaveLength(4);
    expect(codeOf(() => store.objects.read(reference, amd64, {}, refuse))).toBe("UNTRUSTED");
  });

  it("is what the reference means now, when that has moved", async () => {
    readOften();
    await seed(directory, imageOf("second"));
    const asked: Digest[] = [];
    const read = store.objects.read(reference, amd64, {}, (_, root) => asked.push(root));
    expect(read.programs.map((program) => program.name)).toEqual(["second"]);
    expect(asked).toEqual([read.rootDigest]);
  });

  it("is told apart by the object that is chosen, also when the caller's options change", async () => {
    await seed(directory, imageOf("first", "second"));
    const choice = { program: "first" };
    const programs = ["first", "second", "first", "second"].map((program) => {
      choice.program = program;
      return store.objects.read(reference, amd64, choice).programs.map(({ name }) => name);
    });
    expect(programs).toEqual([["first"], ["second"], ["first"], ["second"]]);
  });

  it("is told apart by the platform", () => {
    readOften();
    expect(codeOf(() => store.objects.read(reference, parsePlatform("linux/arm64"), {}))).toBe("NOT_CACHED");
  });

  it("is handed out as it was when it was hashed, whatever becomes of it on the disk; others find that", () => {
    readOften();
    const { bytes } = store.objects.read(reference, amd64, {});
    const environment = Environment.open({ directory });
    environment.commit(() => {
      for (const { key, value } of environment.tree("objects").entries()) {
        value.writeUInt8(value.readUInt8(8) ^ 1, 8);
        environment.tree("objects").put(key, value);
      }
    });
    environment.close();
    expect(store.objects.read(reference, amd64, {}).bytes).toEqual(bytes);
    expect(store.objects.use(reference, amd64, {}, (view) => Buffer.from(view))).toEqual(bytes);
    const other = ReadOnlyStore.open(directory);
    expect(codeOf(() => other.objects.read(reference, amd64, {}))).toBe("CACHE_CORRUPT");
    other.close();
  });

  it.each(["a view", "a copy"])("is the same for the next, whatever a loader does to %s of it", (which) => {
    readOften();
    const before = Buffer.from(store.objects.read(reference, amd64, {}).bytes);
    if (which === "a view") store.objects.use(reference, amd64, {}, (view) => view.fill(0));
    else store.objects.read(reference, amd64, {}).bytes.fill(0);
    expect(store.objects.read(reference, amd64, {}).bytes).toEqual(before);
    expect(store.objects.use(reference, amd64, {}, (view) => Buffer.from(view))).toEqual(before);
  });

  it("is not there any more when it has been removed", async () => {
    readOften();
    const cache = await openTestCache({ directory });
    cache.remove(name);
    expect(codeOf(() => store.objects.read(reference, amd64, {}))).toBe("NOT_CACHED");
  });
});

it("of an image that is refused nothing is told, not even that there is a choice", async () => {
  await seed(directory, imageOf("first", "second"));
  expect(codeOf(() => store.objects.read(reference, amd64, {}))).toBe("USAGE");
  expect(codeOf(() => store.objects.read(reference, amd64, {}, refuse))).toBe("UNTRUSTED");
});
