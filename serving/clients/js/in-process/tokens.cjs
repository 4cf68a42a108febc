// Texts to token ids as classifier/tokens.py makes them: words of other languages through their gloss, a budget for
// each part. Terms are found and text is folded here, in the way of the Rust tokenizer behind Python; splitting and word
// pieces are the library's.
"use strict";

const { Tokenizer } = require("@huggingface/tokenizers");

const HEAD_SHARE = 2 / 3;
const ASCII = /^[\0-\x7f]*$/;
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const CHINESE = /[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const DROPPED = /[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu;

class TextTokenizer {
  #pieces; #raw; #folded; #glosses; #budget; #cls; #sep;

  /** Takes the parsed tokenizer.json and glosses.json of a bundle, and the budget of its manifest. */
  constructor(tokenizer, glosses, budget) {
    if (tokenizer.normalizer?.type !== "BertNormalizer" || tokenizer.model?.type !== "WordPiece") {
      throw new Error("the tokenizer is no lower-casing BERT WordPiece; expected one. Pack the bundle again.");
    }
    const terms = [...tokenizer.added_tokens].sort((a, b) => a.id - b.id);
    this.#raw = new Terms(terms.filter((term) => !term.normalized), (text) => text);
    this.#folded = new Terms(terms.filter((term) => term.normalized), folded);
    // Folded already, and without the terms: what is left is split and looked up.
    this.#pieces = new Tokenizer({ ...tokenizer, normalizer: null, post_processor: null, added_tokens: [] }, {});
    this.#glosses = glosses;
    this.#budget = budget;
    this.#cls = this.#special("[CLS]");
    this.#sep = this.#special("[SEP]");
  }

  #special(name) {
    const id = this.#pieces.token_to_id(name);
    if (id === undefined) throw new Error(`the tokenizer has no ${name} token; expected one. Pack the bundle again.`);
    return id;
  }

  /** Return the ids of one text and how many of them belong to the first segment. */
  encode({ prompt, context }) {
    const ids = [this.#cls, ...cut(this.#read(prompt), this.#budget.prompt), this.#sep];
    const nFirst = ids.length;
    if (context.length) {
      const rooms = this.#budget.context;
      context.slice(0, rooms.length).forEach((message, i) => ids.push(...cut(this.#read(message), rooms[i])));
      ids.push(this.#sep);
    }
    return { ids, nFirst };
  }

  #read(text) {
    const ids = this.#raw.split(text).flatMap((part) => (typeof part === "number" ? [part] : this.#readFolded(part)));
    return ASCII.test(text) ? ids : ids.flatMap((id) => this.#glosses[id] ?? [id]);
  }

  #readFolded(text) {
    const words = (part) => (part.trim() ? this.#pieces.encode(part, { add_special_tokens: false }).ids : []);
    return this.#folded.split(folded(text)).flatMap((part) => (typeof part === "number" ? [part] : words(part)));
  }
}

/** Terms of a vocabulary, found in running text: the leftmost, and of those that begin there the longest. */
class Terms {
  #trie = new Map();

  constructor(terms, form) {
    for (const { content, id, single_word: isWord } of terms) {
      let node = this.#trie;
      for (const char of form(content)) {
        if (!node.has(char)) node.set(char, new Map());
        node = node.get(char);
      }
      // Of terms that fold to the same word the first counts, as in Python.
      node.term ??= { id, isWord };
    }
  }

  /** Cut a text into strings and the ids of the terms between them. */
  split(text) {
    const chars = Array.from(text);
    const parts = [];
    let begun = 0;
    for (let i = 0; i < chars.length; ) {
      const { term, end } = this.#longest(chars, i);
      if (!term) {
        i += 1;
      } else {
        const inside = (i > 0 && WORD.test(chars[i - 1])) || (end < chars.length && WORD.test(chars[end]));
        if (!term.isWord || !inside) {
          if (i > begun) parts.push(chars.slice(begun, i).join(""));
          parts.push(term.id);
          begun = end;
        }
        i = end;
      }
    }
    if (begun < chars.length) parts.push(chars.slice(begun).join(""));
    return parts;
  }

  #longest(chars, start) {
    let found = {};
    let node = this.#trie.get(chars[start]);
    for (let i = start + 1; node; node = node.get(chars[i]), i += 1) {
      if (node.term) found = { term: node.term, end: i };
    }
    return found;
  }
}

/** Fold a text as the BERT normaliser does: no control characters, spaces around Chinese, no accents, lower case. */
function folded(text) {
  const clean = text.replace(DROPPED, "").replace(/\s/gu, " ").replace(CHINESE, " $& ");
  // The final sigma is a rule of whole words; the tokenizer of Python lowers each character by itself.
  return clean.normalize("NFD").replace(/\p{Mn}/gu, "").replaceAll("Σ", "σ").toLowerCase();
}

function cut(ids, room) {
  if (ids.length <= room) return ids;
  const head = Math.trunc(room * HEAD_SHARE);
  return [...ids.slice(0, head), ...ids.slice(ids.length - (room - head))];
}

module.exports = { TextTokenizer };
