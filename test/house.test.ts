import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** DESIGN: a folder imports only from folders before it in this list; the files of the last entry may import all before them. */
const order = ["core", "image", "store", "source", "trust", "pull", "bundle", "serve", "programs", "", "cli"];

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((path) => /\.[jt]s$/.test(path));

function importsOf(file: string): { specifier: string; isLoaded: boolean }[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(src, file), "utf8"),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: { specifier: string; isLoaded: boolean }[] = [];
  const visit = (node: ts.Node): void => {
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined
    ) {
      const isTypeOnly = ts.isImportDeclaration(node)
        ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword || hasOnlyTypeNames(node)
        : node.isTypeOnly || hasOnlyTypeExports(node);
      found.push({ specifier: (node.moduleSpecifier as ts.StringLiteral).text, isLoaded: !isTypeOnly });
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument !== undefined && ts.isStringLiteral(argument)) {
        found.push({ specifier: argument.text, isLoaded: false });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function hasOnlyTypeNames({ importClause }: ts.ImportDeclaration): boolean {
  const names = importClause?.namedBindings;
  if (importClause === undefined || importClause.name !== undefined) return false;
  return (
    names !== undefined && ts.isNamedImports(names) && names.elements.every((element) => element.isTypeOnly)
  );
}

function hasOnlyTypeExports({ exportClause }: ts.ExportDeclaration): boolean {
  if (exportClause === undefined || !ts.isNamedExports(exportClause)) return false;
  return exportClause.elements.every((element) => element.isTypeOnly);
}

function folderOf(file: string): string {
  return file.includes("/") ? (file.split("/")[0] ?? "") : "";
}

/** The file of src that a relative import names: what child processes and workers run is JavaScript as it is. */
function target(file: string, specifier: string): string {
  const named = relative(src, resolve(src, dirname(file), specifier));
  return files.includes(named) ? named : named.replace(/\.js$/, ".ts");
}

/** All modules that loading `entry` loads, packages included; not what is imported for its types or on demand. */
function graphOf(entry: string): Set<string> {
  const seen = new Set<string>();
  const walk = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const { specifier, isLoaded } of importsOf(file)) {
      if (!isLoaded) continue;
      if (specifier.startsWith(".")) walk(target(file, specifier));
      else seen.add(specifier);
    }
  };
  walk(entry);
  return seen;
}

describe("the house", () => {
  it.each(files)("%s imports only from folders before its own", (file) => {
    const own = order.indexOf(folderOf(file));
    expect(own, `src/${folderOf(file)} has no place in the order`).toBeGreaterThanOrEqual(0);
    const wrong = importsOf(file)
      .filter(({ specifier }) => specifier.startsWith("."))
      .map(({ specifier }) => target(file, specifier))
      .filter((imported) => order.indexOf(folderOf(imported)) > own);
    expect(wrong).toEqual([]);
  });

  it.each(files)("%s has no default export and re-exports nothing unless it is index.ts", (file) => {
    const source = readFileSync(join(src, file), "utf8");
    expect(source).not.toMatch(/^export default/m);
    if (file !== "index.ts") expect(source).not.toMatch(/^export .* from /m);
  });

  it.each(["reader.ts", "index.ts"])(
    "%s loads no network code, no schema library and nothing of source/",
    (entry) => {
      const graph = [...graphOf(entry)];
      expect(graph).toContain("store/handle.ts"); // The walk has come as far as where lmdb is loaded.
      expect(graph.filter((module) => /^(undici|zod)$|^(source|pull|serve|cli)\//.test(module))).toEqual([]);
      expect(graph.filter((module) => /^(node:)?(http|https|http2|net|tls|dgram)$/.test(module))).toEqual([
        "node:net",
      ]); // isIPv6
    },
  );

  it("image/ touches no file, socket or database", () => {
    const modules = files
      .filter((file) => file.startsWith("image/"))
      .flatMap(importsOf)
      .map(({ specifier }) => specifier)
      .filter((specifier) => !specifier.startsWith("."));
    const allowed = [
      "node:crypto",
      "node:stream",
      "node:stream/promises",
      "node:timers/promises",
      "node:zlib",
      "tar-stream",
      "yaml",
      "zod",
    ];
    expect([...new Set(modules)].filter((specifier) => !allowed.includes(specifier))).toEqual([]);
  });
});
