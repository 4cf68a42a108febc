// Names of sessions as Python keeps them (classifier/identity.py): trimmed, storable, and hashed over 200 characters.
"use strict";

const MAX_CHARS = 200;
// What Python counts as white space; JavaScript counts U+FEFF too, and leaves U+001C to U+001F and U+0085 out.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");
const LONE_SURROGATE = /[\ud800-\udfff]/gu;

// BLAKE2b (RFC 7693) with a digest of 16 bytes, which Node's own hashes do not offer.
const MASK = 0xffffffffffffffffn;
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const ORDERS = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const COLUMNS_AND_DIAGONALS = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];
const N_ROUNDS = 12;
const BLOCK_BYTES = 128;
const DIGEST_BYTES = 16;

/** A session's name as Python has it; null for what is none. */
function boundedName(value) {
  if (typeof value !== "string") return null;
  const name = value.replace(AROUND, "");
  if (!name) return null;
  const isLong = name.length > MAX_CHARS && Array.from(name).length > MAX_CHARS;
  return isLong ? `blake2b:${hashed(name)}` : name.replace(LONE_SURROGATE, "?").replaceAll("\0", "\ufffd");
}

function hashed(text) {
  const data = Buffer.from(text, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(data.length));
  return blake2b(Buffer.concat([length, data])).toString("hex");
}

function blake2b(data) {
  const state = [...IV];
  state[0] ^= 0x01010000n ^ BigInt(DIGEST_BYTES);
  const nBlocks = Math.max(1, Math.ceil(data.length / BLOCK_BYTES));
  for (let block = 0; block < nBlocks; block += 1) {
    const isLast = block === nBlocks - 1;
    const bytes = Buffer.alloc(BLOCK_BYTES);
    data.copy(bytes, 0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    mix(state, bytes, BigInt(isLast ? data.length : (block + 1) * BLOCK_BYTES), isLast);
  }
  const digest = Buffer.alloc(DIGEST_BYTES);
  for (let i = 0; i < DIGEST_BYTES / 8; i += 1) digest.writeBigUInt64LE(state[i], i * 8);
  return digest;
}

function mix(state, bytes, nBytes, isLast) {
  const words = Array.from({ length: 16 }, (_, i) => bytes.readBigUInt64LE(i * 8));
  const v = [...state, ...IV];
  v[12] ^= nBytes;
  if (isLast) v[14] ^= MASK;
  for (let round = 0; round < N_ROUNDS; round += 1) {
    const order = ORDERS[round % ORDERS.length];
    COLUMNS_AND_DIAGONALS.forEach(([a, b, c, d], i) => {
      v[a] = (v[a] + v[b] + words[order[2 * i]]) & MASK;
      v[d] = rotated(v[d] ^ v[a], 32n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = rotated(v[b] ^ v[c], 24n);
      v[a] = (v[a] + v[b] + words[order[2 * i + 1]]) & MASK;
      v[d] = rotated(v[d] ^ v[a], 16n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = rotated(v[b] ^ v[c], 63n);
    });
  }
  for (let i = 0; i < 8; i += 1) state[i] ^= v[i] ^ v[i + 8];
}

function rotated(word, nBits) {
  return (word >> nBits) | ((word << (64n - nBits)) & MASK);
}

module.exports = { boundedName };
