// A digest to model input, as classifier/text.py builds it. Characters are code points here, as they are in Python.
"use strict";

const { inPlainLetters, withoutHidden } = require("./shown.cjs");

const GAP = " … ";
const HEAD_SHARE = 2 / 3;
const PADDING = 10;
const LONE_SURROGATE = /[\ud800-\udfff]/gu;

/** Reads digests under the limits that the pack names. */
class Texts {
  #limits;

  constructor(limits) {
    this.#limits = limits;
  }

  /** Return prompt and context of a digest, what is no text left out; the context oldest first. */
  read(digest) {
    const { max_context_messages: nMessages, max_message_chars: nChars } = this.#limits;
    const prompt = typeof digest?.prompt === "string" ? storable(unquoted(digest.prompt.trim())) : "";
    const context = [];
    for (const message of Array.isArray(digest?.context) ? digest.context.slice(-nMessages) : []) {
      const isText = ["user", "assistant"].includes(message?.role) && typeof message.text === "string";
      const text = isText ? storable(head(unquoted(message.text.trim()), nChars)) : "";
      if (text) context.push({ role: message.role, text });
    }
    return { prompt, context, context_tokens: this.#tokens(digest, prompt, context) };
  }

  /** Return the model input: the prompt, and the context newest first with its roles. */
  input({ prompt, context }) {
    const { max_prompt_chars: nPrompt, max_message_chars: nChars } = this.#limits;
    const rendered = context.map(({ role, text }) => `${role}: ${kept(text.trim(), nChars)}`);
    return { prompt: kept(prompt, nPrompt), context: rendered.reverse() };
  }

  #tokens(digest, prompt, context) {
    const given = digest?.context_tokens;
    if (Number.isInteger(given) && given > 0 && given < 2 ** 31) return given;
    const whole = typeof digest?.prompt === "string" ? digest.prompt : prompt;
    let [chars, bytes] = [0, 0];
    for (const text of [whole, ...context.map((message) => message.text)]) {
      chars += nChars(text);
      bytes += Buffer.byteLength(text, "utf8");
    }
    const { chars_per_token: perToken, tokens_per_extra_byte: perByte } = this.#limits;
    return halfToEven(chars / perToken + (bytes - chars) * perByte);
  }
}

/** Take off the quotation marks that `opencode run` puts around a prompt of several words. */
function unquoted(text) {
  const inner = text.slice(1, -1);
  const isQuoted = text.length >= 3 && text.startsWith('"') && text.endsWith('"');
  return isQuoted && !inner.replaceAll('\\"', "").includes('"') ? inner.replaceAll('\\"', '"').trim() : text;
}

function storable(text) {
  return text.replace(LONE_SURROGATE, "?").replaceAll("\0", "\ufffd");
}

function nChars(text) {
  let n = text.length;
  for (let i = 0; i < text.length - 1; i += 1) {
    if (text.codePointAt(i) > 0xffff) {
      n -= 1;
      i += 1;
    }
  }
  return n;
}

/** Return the first characters of a text; only as much of it is looked at as they can take. */
function head(text, n) {
  return text.length <= n ? text : Array.from(text.slice(0, 2 * n + 1)).slice(0, n).join("");
}

function tail(text, n) {
  return Array.from(text.slice(-2 * n - 1)).slice(-n).join("");
}

function cutMiddle(text, most) {
  if (text.length <= most || (text.length <= 2 * most && nChars(text) <= most)) return text;
  const room = most - GAP.length;
  const nHead = Math.trunc(room * HEAD_SHARE);
  return head(text, nHead) + GAP + tail(text, room - nHead);
}

/** Cut what a text shows in its middle. */
function kept(text, most) {
  return inPlainLetters(cutMiddle(withoutHidden(cutMiddle(text, PADDING * most)), most));
}

/** Round as Python does. */
function halfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

module.exports = { Texts };
