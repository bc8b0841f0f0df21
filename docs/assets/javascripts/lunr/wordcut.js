// Thai is written without spaces between words. This file takes the place of the one of the same name that Material for MkDocs
// loads for Thai: words are cut by the browser's own dictionary (Intl.Segmenter), in the pages and in what is searched for
// (docs/decisions/0042).
(() => {
  const thai = /[\u0e01-\u0e5b]/;
  const segmenter = new Intl.Segmenter("th", { granularity: "word" });
  const cut = (text) => Array.from(segmenter.segment(text), (part) => part.segment);

  lunr.wordcut = { init() {}, cut: (text) => cut(text).join("|") };

  // The pages: Material cuts each term whose kind is one of M, H, I and K by this segmenter.
  lunr.TinySegmenter = class {
    ctype_(text) {
      return thai.test(text) ? "H" : "O";
    }

    segment(text) {
      return cut(text);
    }
  };

  // What is searched for: a term becomes a term for each of its words.
  const run = lunr.QueryLexer.prototype.run;
  lunr.QueryLexer.prototype.run = function () {
    run.call(this);
    this.lexemes = this.lexemes.flatMap((lexeme) =>
      lexeme.type === "TERM" && thai.test(lexeme.str) && !lexeme.str.includes("*")
        ? cut(lexeme.str).map((str) => ({ ...lexeme, str }))
        : [lexeme],
    );
  };
})();
