/**
 * Name hashes of indexed directories. A name hashes to a major word, by which the index is ordered
 * (its lowest bit is always 0: in index entries that bit says "continued"), and a minor word, which
 * only orders names of one major word while a directory is listed.
 *
 * Source: Linux Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories"; MD4 is
 * RFC 1320 (here two thirds of its rounds are cut in half), TEA is Wheeler and Needham, 1994.
 */

/** Algorithms as `dx_root_info.hash_version` and `s_def_hash_version` number them. */
export const HASH_LEGACY = 0;
export const HASH_HALF_MD4 = 1;
export const HASH_TEA = 2;
/** Added to the three above: name bytes are unsigned. Otherwise they are signed. */
export const HASH_UNSIGNED = 3;

/** Filled in by `hashName`; the caller owns it, so that hashing allocates nothing. */
export interface NameHash {
  /** Unsigned 32-bit, even, at most 0xfffffffc. */
  major: number;
  /** Unsigned 32-bit. */
  minor: number;
}

/** The largest major word: 0xfffffffe is kept free, as the kernel's end-of-directory mark. */
const MAJOR_MAX = 0xfffffffc;

const seedDefault = new Uint32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]);

// Scratch of this thread: the words of one chunk of a name, and the running state.
const chunk = new Int32Array(8);
const state = new Int32Array(4);

export function isHashVersion(version: number): boolean {
  return version >= HASH_LEGACY && version <= HASH_TEA + HASH_UNSIGNED;
}

/**
 * Hashes `length` bytes of `bytes` at `start` into `into`.
 * Shapes: `version` is 0 to 5 (see `isHashVersion`); `seed` is the superblock's four words, where
 * all zeroes stand for the default seed; `length` is at most 255.
 */
export function hashName(
  version: number,
  seed: Uint32Array,
  bytes: Uint8Array,
  start: number,
  length: number,
  into: NameHash,
): void {
  const isUnsigned = version >= HASH_UNSIGNED;
  const algorithm = isUnsigned ? version - HASH_UNSIGNED : version;
  let major: number;
  if (algorithm === HASH_LEGACY) {
    major = legacyHash(bytes, start, length, isUnsigned);
    into.minor = 0;
  } else {
    const isSeeded = (seed[0]! | seed[1]! | seed[2]! | seed[3]!) !== 0;
    state.set(isSeeded ? seed : seedDefault);
    const isTea = algorithm === HASH_TEA;
    const words = isTea ? 4 : 8;
    for (let rest = length; rest > 0; rest -= words * 4) {
      loadChunk(bytes, start + length - rest, rest, words, isUnsigned);
      if (isTea) mixTea();
      else mixHalfMd4();
    }
    major = state[isTea ? 0 : 1]!;
    into.minor = state[isTea ? 1 : 2]! >>> 0;
  }
  major = (major & ~1) >>> 0;
  into.major = major > MAJOR_MAX ? MAJOR_MAX : major;
}

/** The hash of ext3's first days. Only the major word exists. */
function legacyHash(bytes: Uint8Array, start: number, length: number, isUnsigned: boolean): number {
  let previous = 0x37abe8f9;
  let current = 0x12a3fe2d;
  for (let at = start; at < start + length; at++) {
    const character = isUnsigned ? bytes[at]! : (bytes[at]! << 24) >> 24;
    let next = (previous + (current ^ Math.imul(character, 7152373))) | 0;
    if (next < 0) next = (next - 0x7fffffff) | 0;
    previous = current;
    current = next;
  }
  return current << 1;
}

/**
 * Fills `chunk` with `words` big-endian words of the name. A signed byte above 127 borrows from the
 * bytes before it, as C's promotion of char makes it. What the name does not fill holds its
 * remaining length `rest`, repeated.
 */
function loadChunk(
  bytes: Uint8Array,
  start: number,
  rest: number,
  words: number,
  isUnsigned: boolean,
): void {
  const padding = Math.imul(rest, 0x01010101);
  const length = Math.min(rest, words * 4);
  let at = start;
  const end = start + length;
  for (let index = 0; index < words; index++) {
    let word = padding;
    const wordEnd = Math.min(at + 4, end);
    for (; at < wordEnd; at++) {
      const character = isUnsigned ? bytes[at]! : (bytes[at]! << 24) >> 24;
      word = ((word << 8) + character) | 0;
    }
    chunk[index] = word;
  }
}

/** Sixteen rounds of TEA over the state's first two words, keyed by the chunk's four. */
function mixTea(): void {
  let sum = 0;
  let left = state[0]!;
  let right = state[1]!;
  for (let round = 0; round < 16; round++) {
    sum = (sum + 0x9e3779b9) | 0;
    left = (left + (((right << 4) + chunk[0]!) ^ (right + sum) ^ ((right >>> 5) + chunk[1]!))) | 0;
    right = (right + (((left << 4) + chunk[2]!) ^ (left + sum) ^ ((left >>> 5) + chunk[3]!))) | 0;
  }
  state[0] = (state[0]! + left) | 0;
  state[1] = (state[1]! + right) | 0;
}

const MD4_ROUND_2 = 0x5a827999;
const MD4_ROUND_3 = 0x6ed9eba1;

/**
 * MD4's compression with eight words instead of sixteen, so eight steps a round. Written out, since as a loop it took
 * a fifth of the time in which a large directory is checked.
 */
function mixHalfMd4(): void {
  const w0 = chunk[0]!;
  const w1 = chunk[1]!;
  const w2 = chunk[2]!;
  const w3 = chunk[3]!;
  const w4 = chunk[4]!;
  const w5 = chunk[5]!;
  const w6 = chunk[6]!;
  const w7 = chunk[7]!;
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;

  a = (a + ((b & c) | (~b & d)) + w0) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + ((a & b) | (~a & c)) + w1) | 0;
  d = (d << 7) | (d >>> 25);
  c = (c + ((d & a) | (~d & b)) + w2) | 0;
  c = (c << 11) | (c >>> 21);
  b = (b + ((c & d) | (~c & a)) + w3) | 0;
  b = (b << 19) | (b >>> 13);
  a = (a + ((b & c) | (~b & d)) + w4) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + ((a & b) | (~a & c)) + w5) | 0;
  d = (d << 7) | (d >>> 25);
  c = (c + ((d & a) | (~d & b)) + w6) | 0;
  c = (c << 11) | (c >>> 21);
  b = (b + ((c & d) | (~c & a)) + w7) | 0;
  b = (b << 19) | (b >>> 13);

  a = (a + ((b & c) | (b & d) | (c & d)) + w1 + MD4_ROUND_2) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + ((a & b) | (a & c) | (b & c)) + w3 + MD4_ROUND_2) | 0;
  d = (d << 5) | (d >>> 27);
  c = (c + ((d & a) | (d & b) | (a & b)) + w5 + MD4_ROUND_2) | 0;
  c = (c << 9) | (c >>> 23);
  b = (b + ((c & d) | (c & a) | (d & a)) + w7 + MD4_ROUND_2) | 0;
  b = (b << 13) | (b >>> 19);
  a = (a + ((b & c) | (b & d) | (c & d)) + w0 + MD4_ROUND_2) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + ((a & b) | (a & c) | (b & c)) + w2 + MD4_ROUND_2) | 0;
  d = (d << 5) | (d >>> 27);
  c = (c + ((d & a) | (d & b) | (a & b)) + w4 + MD4_ROUND_2) | 0;
  c = (c << 9) | (c >>> 23);
  b = (b + ((c & d) | (c & a) | (d & a)) + w6 + MD4_ROUND_2) | 0;
  b = (b << 13) | (b >>> 19);

  a = (a + (b ^ c ^ d) + w3 + MD4_ROUND_3) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + (a ^ b ^ c) + w7 + MD4_ROUND_3) | 0;
  d = (d << 9) | (d >>> 23);
  c = (c + (d ^ a ^ b) + w2 + MD4_ROUND_3) | 0;
  c = (c << 11) | (c >>> 21);
  b = (b + (c ^ d ^ a) + w6 + MD4_ROUND_3) | 0;
  b = (b << 15) | (b >>> 17);
  a = (a + (b ^ c ^ d) + w1 + MD4_ROUND_3) | 0;
  a = (a << 3) | (a >>> 29);
  d = (d + (a ^ b ^ c) + w5 + MD4_ROUND_3) | 0;
  d = (d << 9) | (d >>> 23);
  c = (c + (d ^ a ^ b) + w0 + MD4_ROUND_3) | 0;
  c = (c << 11) | (c >>> 21);
  b = (b + (c ^ d ^ a) + w4 + MD4_ROUND_3) | 0;
  b = (b << 15) | (b >>> 17);
  state[0] = (state[0]! + a) | 0;
  state[1] = (state[1]! + b) | 0;
  state[2] = (state[2]! + c) | 0;
  state[3] = (state[3]! + d) | 0;
}
