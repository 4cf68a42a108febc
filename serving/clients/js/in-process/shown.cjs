// What a text shows, where its code points say something else; the same functions as classifier/shown.py.
"use strict";

// The bidirectional algorithm (UAX 9): what opens an embedding, an override or an isolate, what ends them, and how deep
// they may lie in one another.
const OVERRIDE = "\u202e";
const OPENED = new Map([
  ["\u202a", "run"], ["\u202b", "run"], ["\u202d", "run"], [OVERRIDE, "turned"],
  ["\u2066", "isolate"], ["\u2067", "isolate"], ["\u2068", "isolate"],
]);
const POP = "\u202c";
const POP_ISOLATE = "\u2069";
const MAX_DEPTH = 125;
const LINE_ENDS = new Set(["\n", "\r", "\u2029"]);
const BIDI = /([\u202a-\u202e\u2066-\u2069\n\r\u2029])/;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

// Characters without a width: marks of direction, joiners, soft hyphens, selectors of a variant, tags.
const HIDDEN = /[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\u{e0000}-\u{e01ef}]+/gu;

// Letters and digits that differ from plain ones in style alone. Full-width punctuation counts between such letters
// only; circled and squared letters count in words only: alone they are signs.
const WIDE = "\\uff10-\\uff19\\uff21-\\uff3a\\uff41-\\uff5a";
const SCRIPT = "\\u2102\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2128\\u212c\\u212d\\u212f-\\u2131\\u2133\\u2134";
const STYLED = new RegExp(
  `[${WIDE}](?:[\\uff01-\\uff5e]*[${WIDE}])?`
  + `|[${SCRIPT}\\u{1d400}-\\u{1d7ff}]+|[\\u24b6-\\u24e9]{2,}|[\\u{1f130}-\\u{1f149}]{2,}`,
  "gu",
);

// Cyrillic and Greek letters whose usual shape is that of a Latin one.
const ALIKE = new Map();
const [OTHERS, LATIN] = [
  "асеһіјӏорԛѕуѵԝхԁАВСЕԌНІЈКМОРԚЅТѴԜХУοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
  "acehijlopqsyvwxdABCEGHIJKMOPQSTVWXYoABEZHIKMNOPTYX",
];
for (let i = 0; i < OTHERS.length; i += 1) ALIKE.set(OTHERS[i], LATIN[i]);
// One look that settles most texts.
const ODD = new RegExp(`[${OTHERS}${SCRIPT}${WIDE}\\u24b6-\\u24e9\\u{1d400}-\\u{1d7ff}\\u{1f130}-\\u{1f149}]`, "u");
const WORD = /[A-Za-z\u00c0-\u024f\u0370-\u052f]+/g;
const PLAIN = /[A-Za-z]/;

/** Put runs that are forced from right to left into the order they are read in, and drop what has no width. */
function withoutHidden(text) {
  return (text.includes(OVERRIDE) ? inOrder(text) : text).replace(HIDDEN, "");
}

/** Spell styled letters plainly, and words of Latin letters with none of another script among them. */
function inPlainLetters(text) {
  if (!ODD.test(text)) return text;
  return text.replace(STYLED, (styled) => styled.normalize("NFKC")).replace(WORD, inOneScript);
}

/** Turn around what an override shows from right to left; a run inside it that goes on as usual is not turned. */
function inOrder(text) {
  const kinds = [""];
  const runs = [[]];
  const close = () => {
    const kind = kinds.pop();
    const run = runs.pop().join("");
    const isTurned = (kind === "turned") !== (kinds.at(-1) === "turned") && !RIGHT_TO_LEFT.test(run);
    runs.at(-1).push(isTurned ? Array.from(run).reverse().join("") : run);
  };
  for (const piece of text.split(BIDI)) {
    if (OPENED.has(piece)) {
      if (kinds.length <= MAX_DEPTH) {
        kinds.push(OPENED.get(piece));
        runs.push([]);
      }
    } else if (piece === POP) {
      if (["run", "turned"].includes(kinds.at(-1))) close();
    } else if (piece === POP_ISOLATE) {
      if (kinds.includes("isolate")) {
        while (kinds.at(-1) !== "isolate") close();
        close();
      }
    } else {
      // The end of a line ends every run.
      while (LINE_ENDS.has(piece) && kinds.length > 1) close();
      runs.at(-1).push(piece);
    }
  }
  while (kinds.length > 1) close();
  return runs[0].join("");
}

/** Return a word of Latin letters and of others that look like some in Latin letters alone. */
function inOneScript(word) {
  const letters = Array.from(word);
  const isMixed = PLAIN.test(word) && letters.every((letter) => letter <= "\x7f" || ALIKE.has(letter));
  return isMixed ? letters.map((letter) => ALIKE.get(letter) ?? letter).join("") : word;
}

module.exports = { withoutHidden, inPlainLetters };
