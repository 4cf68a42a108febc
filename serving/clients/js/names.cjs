// Names of sessions as Python keeps them (classifier/identity.py): trimmed, storable, and hashed over 200 characters.
"use strict";

const { createHash } = require("node:crypto");

const MAX_CHARS = 200;
// What Python counts as white space; JavaScript counts U+FEFF too, and leaves U+001C to U+001F and U+0085 out.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");
const LONE_SURROGATE = /[\ud800-\udfff]/gu;

/** A session's name as Python has it; null for what is none. */
function boundedName(value) {
  if (typeof value !== "string") return null;
  const name = value.replace(AROUND, "");
  if (!name) return null;
  const storable = name.replace(LONE_SURROGATE, "?").replaceAll("\0", "\ufffd");
  const isLong = name.length > MAX_CHARS && Array.from(name).length > MAX_CHARS;
  return isLong ? `sha256:${createHash("sha256").update(storable).digest("hex")}` : storable;
}

module.exports = { boundedName };
