/** The deepest gadget.yaml there is has six levels. */
const maxDepth = 64;

/** The longest gadget.yaml has some hundreds of lines. Each part takes the yaml package up to 7 µs, in which nothing else runs. */
const maxLexemes = 8_192;

/**
 * Throws when there is more to parse, or more in one another, than anyone writes. The composer of the yaml package recurses,
 * and where the stack ends inside a regular expression that is used for the first time, V8 does not throw: it ends
 * the process ("RegExpCompiler Allocation failed"; 5 KB of `[` do it on Node 20). Its parser keeps a stack of its
 * own, which is what is measured here.
 */
export async function requireBoundedYaml(text: string): Promise<void> {
  const { Lexer, Parser } = await import("yaml");
  const parser = new Parser();
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (++lexemes > maxLexemes) throw new Error(`it has more than ${maxLexemes} parts`);
    // Documents come out as they end, and are not wanted.
    for (const _ of parser.next(lexeme));
    if (parser.stack.length > maxDepth) throw new Error(`it is nested more than ${maxDepth} levels deep`);
  }
}
