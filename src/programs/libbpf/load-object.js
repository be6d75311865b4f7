// @ts-check
// Run by libbpf.ts as a process of its own, from src and from dist alike: hence JavaScript. libbpf parses what strangers
// have written, and the verifier may take its time: neither is to happen in the process that has the cache open.
// Reads a plan from standard input; what libbpf has to say goes to standard error; ends with 0 when all is pinned.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** @typedef {{ path: string, programs: string[], programDirectory: string, mapDirectory: string, reusedMaps: [string, string][] }} Plan */

const plan = /** @type {Plan} */ (JSON.parse(readFileSync(0, "utf8")));
const libbpf = openLibbpf();

const object = libbpf.open(plan.path, null);
if (object === null) fail("libbpf does not open the object");
const wanted = new Set(plan.programs);
for (const program of all(libbpf.nextProgram)) {
  libbpf.setAutoload(program, wanted.has(libbpf.programName(program)));
}
const reused = new Map(plan.reusedMaps);
for (const map of all(libbpf.nextMap)) {
  libbpf.setPinPath(map, null); // LIBBPF_PIN_BY_NAME would pin it outside of our directory.
  const pin = reused.get(libbpf.mapName(map));
  if (pin === undefined) continue;
  const descriptor = libbpf.get(pin);
  if (descriptor < 0 || libbpf.reuse(map, descriptor) !== 0) fail(`the map behind ${pin} cannot be used`);
}
if (libbpf.load(object) !== 0) process.exit(1);
// Their parent is gone when the process that has started this one has died and another has undone its load: then
// neither can be made, and what was loaded goes with this process.
mkdirSync(plan.programDirectory, { mode: 0o700 });
for (const program of all(libbpf.nextProgram)) {
  const name = libbpf.programName(program);
  if (wanted.has(name) && libbpf.pinProgram(program, `${plan.programDirectory}/${name}`) !== 0)
    process.exit(1);
}
mkdirSync(plan.mapDirectory, { mode: 0o700 });
for (const map of all(libbpf.nextMap)) {
  if (libbpf.mapDescriptor(map) < 0) continue; // One that no program chosen needs may not have been made.
  const name = libbpf.mapName(map).replaceAll(".", "_");
  if (libbpf.pinMap(map, `${plan.mapDirectory}/${name}`) !== 0) process.exit(1);
}
process.exit(0);

/** @param {(object: unknown, previous: unknown) => unknown} next */
function* all(next) {
  for (let item = next(object, null); item !== null; item = next(object, item)) yield item;
}

/** @param {string} reason @returns {never} */
function fail(reason) {
  console.error(reason);
  process.exit(1);
}

function openLibbpf() {
  const koffi = /** @type {typeof import("koffi")} */ (createRequire(import.meta.url)("koffi"));
  const library = koffi.load("libbpf.so.1");
  return {
    open: library.func("void *bpf_object__open_file(const char *path, void *options)"),
    load: library.func("int bpf_object__load(void *object)"),
    nextProgram: library.func("void *bpf_object__next_program(void *object, void *previous)"),
    programName: library.func("const char *bpf_program__name(void *program)"),
    setAutoload: library.func("int bpf_program__set_autoload(void *program, bool autoload)"),
    pinProgram: library.func("int bpf_program__pin(void *program, const char *path)"),
    nextMap: library.func("void *bpf_object__next_map(void *object, void *previous)"),
    mapName: library.func("const char *bpf_map__name(void *map)"),
    mapDescriptor: library.func("int bpf_map__fd(void *map)"),
    setPinPath: library.func("int bpf_map__set_pin_path(void *map, const char *path)"),
    pinMap: library.func("int bpf_map__pin(void *map, const char *path)"),
    reuse: library.func("int bpf_map__reuse_fd(void *map, int descriptor)"),
    get: library.func("int bpf_obj_get(const char *path)"),
  };
}
