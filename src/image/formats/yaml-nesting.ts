/** The deepest gadget.yaml there is has six levels. */
const maxDepth = 64;

/**
 * Throws when collections are nested deeper than anyone writes them. The composer of the yaml package recurses, and where the
 * stack ends inside a regular expression that is used for the first time, V8 does not throw: it ends the process
 * ("RegExpCompiler Allocation failed"; 5 KB of `[` do it on Node 20). Its parser keeps a stack of its own,
 * which is what is measured here.
 */
export async function requireShallowYaml(text: string): Promise<void> {
  const { Lexer, Parser } = await import("yaml");
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    // Documents come out as they end, and are not wanted.
    for (const _ of parser.next(lexeme));
    if (parser.stack.length > maxDepth) throw new Error(`it is nested more than ${maxDepth} levels deep`);
  }
}
