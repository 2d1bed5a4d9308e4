/**
 * What a block says about itself, so that every block of every file can be judged at any time.
 *
 *     head files   | stamp 64 | ledger 448 | body 3584 |
 *     tail files   | body 3584 | ledger 448 | stamp 64 |
 *
 * The *stamp* names the file and where in the source the body came from. The *body* is raw bytes of
 * the source: an I/O delivers them straight into the page, around the stamp. The *ledger* is for
 * stores through windows, by anyone at any time: each of its bytes is one of four that the file's
 * identity gives, or zero.
 *
 * Rules. (1) Stamp and body are written under a claim of the file's range (claims.ts); the ledger
 *            without one, since any mixture of its legitimate bytes is legitimate.
 *        (2) A cut may zero any part of a block, but the stamp only together with the body. So
 *            stamps sit at the head in half of the files and at the tail in the others: between
 *            them every edge of a cut is tried.
 *        (3) A layout change moves whole blocks within their file, so a block names its file and
 *            never its offset.
 *        (4) A clone has what its origin's I/Os wrote until then, and nothing of later ones. Its side and
 *            its ledger are its origin's.
 */
import { crc32c } from "../../base/checksum.ts";

export const BLOCK_BYTES = 4096;
export const STAMP_BYTES = 64;
export const LEDGER_BYTES = 448;
export const BODY_BYTES = BLOCK_BYTES - STAMP_BYTES - LEDGER_BYTES;

const MAGIC = 0x42434648; // "HFCB"
const TAG_WORD = 8;
const ZEROES = Buffer.alloc(BLOCK_BYTES);

/** In words of the stamp. The rest, from TAG_WORD on, repeats the ledger's four bytes. */
const Word = {
  magic: 0,
  identity: 1,
  generation: 2,
  state: 3,
  source: 4,
  writer: 6,
  crc: 7,
} as const;

/**
 * `filling`: the I/O is in flight. `mortal`: so is this one, of a thread that may be killed in it: its
 * body is whatever had arrived by then. `full`: the body is what the stamp says, or zeroed by a cut.
 */
const State = { filling: 1, full: 2, mortal: 3 } as const;
export type StampState = keyof typeof State;
const STATES = Object.keys(State) as StampState[];

export type Side = "head" | "tail";

/** Where the parts of a block lie, in bytes. */
export interface BlockPlan {
  readonly stamp: number;
  readonly ledger: number;
  readonly body: number;
}

export const PLAN: Readonly<Record<Side, BlockPlan>> = {
  head: { stamp: 0, ledger: STAMP_BYTES, body: STAMP_BYTES + LEDGER_BYTES },
  tail: { stamp: BODY_BYTES + LEDGER_BYTES, ledger: BODY_BYTES, body: 0 },
};

/** What a file's blocks look like. */
export interface FileMark {
  readonly identity: number;
  readonly side: Side;
  readonly plan: BlockPlan;
  /** The ledger in full. */
  readonly ledger: Buffer;
  /** Of a clone: what it is one of. */
  readonly origin: Origin | null;
}

/** What a clone is one of, as it was after an I/O's number. */
export interface Origin {
  readonly mark: FileMark;
  readonly generation: number;
}

/** What one I/O writes into one block. */
export interface Stamp {
  /** The I/O's number. */
  readonly generation: number;
  /** First byte in the source of the block's body. */
  readonly sourceByte: number;
  readonly writer: number;
}

/** What is wrong with a block that was judged at rest. */
export interface BlockFault {
  /** `foreign`: bytes of another file, or of nobody. `unfinished`: an I/O left it half written. */
  readonly kind: "foreign" | "unfinished";
  /** In words that fit "block 7 of file #3: …". */
  readonly reason: string;
}

const marks = new Map<number, FileMark>();

/** The mark of a file identity (1 and up). Of a clone `origin` has to be given the first time. */
export function markOf(identity: number, origin: Origin | null = null): FileMark {
  let mark = marks.get(identity);
  if (mark === undefined) {
    const side = origin?.mark.side ?? (identity % 2 === 0 ? "head" : "tail");
    const ledger = origin?.mark.ledger ?? ledgerOf(identity);
    mark = { identity, side, plan: PLAN[side], ledger, origin };
    marks.set(identity, mark);
  }
  return mark;
}

/** Whether an I/O of the file wrote a stamp: or of what it is a clone of, before it became one. */
function isOwn(mark: FileMark, { identity, generation }: FoundStamp): boolean {
  if (identity === mark.identity) return true;
  for (let { origin } = mark; origin !== null && generation <= origin.generation; ) {
    if (identity === origin.mark.identity) return true;
    origin = origin.mark.origin;
  }
  return false;
}

/** Four bytes, none of them zero, over and over. */
function ledgerOf(identity: number): Buffer {
  const mixed = crc32c(identity, ZEROES.subarray(0, 4));
  const ledger = Buffer.alloc(LEDGER_BYTES);
  for (let at = 0; at < LEDGER_BYTES; at++) {
    ledger[at] = 1 + (((mixed >>> (8 * (at % 4))) & 0xff) % 255);
  }
  return ledger;
}

/** The 64 bytes of a stamp. */
export function encodeStamp(mark: FileMark, stamp: Stamp, state: StampState): Buffer {
  const bytes = Buffer.alloc(STAMP_BYTES);
  bytes.writeUInt32LE(MAGIC, 4 * Word.magic);
  bytes.writeUInt32LE(mark.identity, 4 * Word.identity);
  bytes.writeUInt32LE(stamp.generation, 4 * Word.generation);
  bytes.writeUInt32LE(State[state], 4 * Word.state);
  bytes.writeDoubleLE(stamp.sourceByte, 4 * Word.source);
  bytes.writeUInt32LE(stamp.writer, 4 * Word.writer);
  bytes.writeUInt32LE(crc32c(0, bytes.subarray(0, 4 * Word.crc)), 4 * Word.crc);
  mark.ledger.copy(bytes, 4 * TAG_WORD);
  return bytes;
}

/** A stamp as found; null when these bytes are not one. */
interface FoundStamp extends Stamp {
  readonly identity: number;
  readonly state: StampState;
}

function decodeStamp(block: Buffer, at: number): FoundStamp | null {
  if (block.readUInt32LE(at + 4 * Word.magic) !== MAGIC) return null;
  const crc = crc32c(0, block.subarray(at, at + 4 * Word.crc));
  if (block.readUInt32LE(at + 4 * Word.crc) !== crc) return null;
  return {
    identity: block.readUInt32LE(at + 4 * Word.identity),
    generation: block.readUInt32LE(at + 4 * Word.generation),
    state: STATES[block.readUInt32LE(at + 4 * Word.state) - 1] ?? "filling",
    sourceByte: block.readDoubleLE(at + 4 * Word.source),
    writer: block.readUInt32LE(at + 4 * Word.writer),
  };
}

/**
 * Judges a block whose stamp and body nobody is writing: under a claim with the layout fixed (by a
 * pin or an io lock), or in a copy made so. The ledger may change meanwhile.
 */
export function judgeBlock(block: Buffer, mark: FileMark, source: Buffer): BlockFault | null {
  const { plan } = mark;
  if (isZero(block, plan.stamp, STAMP_BYTES)) {
    const stray = isZero(block, plan.body, BODY_BYTES);
    if (!stray) return foreign(block, mark, "data without a stamp");
    return judgeLedger(block, mark);
  }
  const found = decodeStamp(block, plan.stamp);
  if (found === null || !isOwn(mark, found)) {
    return foreign(block, mark, "something else");
  }
  if (found.state === "filling") {
    const reason = `I/O ${found.generation} of this file never finished with it`;
    return { kind: "unfinished", reason };
  }
  if (found.state === "mortal") return judgeLedger(block, mark);
  return judgeLedger(block, mark) ?? judgeBody(block, mark, found, source);
}

/** The body is the source's bytes; a cut may have zeroed some. */
function judgeBody(
  block: Buffer,
  mark: FileMark,
  stamp: FoundStamp,
  source: Buffer,
): BlockFault | null {
  const at = mark.plan.body;
  const from = stamp.sourceByte;
  if (!(from >= 0 && from + BODY_BYTES <= source.length)) {
    return { kind: "foreign", reason: `its stamp names byte ${from} of the source: there is none` };
  }
  if (source.compare(block, at, at + BODY_BYTES, from, from + BODY_BYTES) === 0) return null;
  for (let index = 0; index < BODY_BYTES; index++) {
    const byte = block[at + index]!;
    if (byte === 0 || byte === source[from + index]) continue;
    const wrote = `I/O ${stamp.generation} wrote ${hex(source[from + index]!)}`;
    const where = `byte ${at + index} is ${hex(byte)} where ${wrote}`;
    return { kind: "foreign", reason: `${where}: data of another I/O is in it` };
  }
  return null;
}

function judgeLedger(block: Buffer, mark: FileMark): BlockFault | null {
  const at = strayByte(block, mark.plan.ledger, mark.ledger, LEDGER_BYTES);
  if (at < 0) return null;
  return foreign(block, mark, `a stray byte ${hex(block[at]!)} at ${at}`);
}

/**
 * Judges a copy of a block made at any moment, with no claim and while the layout changes: whatever
 * was mixed into it, no byte of the stamp's constant part and of the ledger can be another file's.
 */
export function judgeGlimpse(block: Buffer, mark: FileMark): BlockFault | null {
  const { stamp } = mark.plan;
  const expected = encodeStamp(mark, { generation: 0, sourceByte: 0, writer: 0 }, "full");
  const constants: readonly [number, number][] = [
    [4 * Word.magic, mark.origin === null ? 8 : 4], // a clone's identity may be its origin's
    [4 * TAG_WORD, STAMP_BYTES - 4 * TAG_WORD],
  ];
  for (const [at, length] of constants) {
    const bytes = expected.subarray(at, at + length);
    if (strayByte(block, stamp + at, bytes, length) >= 0) {
      return foreign(block, mark, "something else");
    }
  }
  return judgeLedger(block, mark);
}

/**
 * Judges a block that an I/O has just filled and still holds: every byte must be what it sent.
 * Returns what is wrong, in words, or null.
 */
export function judgeFilled(
  block: Buffer,
  mark: FileMark,
  stampBytes: Buffer,
  sent: Buffer,
): string | null {
  const { plan } = mark;
  if (stampBytes.compare(block, plan.stamp, plan.stamp + STAMP_BYTES) !== 0) {
    const now = isZero(block, plan.stamp, STAMP_BYTES) ? "zeroes" : describeBlock(block, mark);
    return `where the I/O's stamp should be, it holds ${now}`;
  }
  if (sent.compare(block, plan.body, plan.body + BODY_BYTES) !== 0) {
    for (let index = 0; index < BODY_BYTES; index++) {
      const byte = block[plan.body + index]!;
      if (byte !== sent[index]) {
        return `byte ${plan.body + index} is ${hex(byte)}, sent was ${hex(sent[index]!)}`;
      }
    }
  }
  return judgeLedger(block, mark)?.reason ?? null;
}

/**
 * Judges whether a block still holds what an earlier copy of it shows; the ledger may have been
 * stored to. Returns what is wrong, in words, or null.
 */
export function judgeUnchanged(block: Buffer, copy: Buffer, mark: FileMark): string | null {
  const { plan } = mark;
  const parts: readonly [string, number, number][] = [
    ["stamp", plan.stamp, STAMP_BYTES],
    ["body", plan.body, BODY_BYTES],
  ];
  for (const [name, at, length] of parts) {
    if (copy.compare(block, at, at + length, at, at + length) === 0) continue;
    const now = isZero(block, at, length) ? "zeroes" : describeBlock(block, mark);
    return `its ${name} changed during the I/O: it now holds ${now}`;
  }
  return judgeLedger(block, mark)?.reason ?? null;
}

/** What a block holds, in words, by the stamp it carries at either end. */
export function describeBlock(block: Buffer, mark: FileMark): string {
  for (const side of [mark.side, "head", "tail"] as const) {
    const found = decodeStamp(block, PLAN[side].stamp);
    if (found === null) continue;
    const whose = found.identity === mark.identity ? "this file" : `file #${found.identity}`;
    return `the stamp of ${whose} (I/O ${found.generation}, ${found.state})`;
  }
  return isZero(block, 0, BLOCK_BYTES) ? "zeroes" : "bytes that carry no stamp";
}

function foreign(block: Buffer, mark: FileMark, what: string): BlockFault {
  const found = describeBlock(block, mark);
  const isNamed = found.startsWith("the stamp of file");
  return {
    kind: "foreign",
    reason: isNamed ? `it holds ${found}` : `it holds ${what} (${found})`,
  };
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

function isZero(block: Buffer, at: number, length: number): boolean {
  return ZEROES.compare(block, at, at + length, 0, length) === 0;
}

/** The first byte of a range that is neither zero nor the pattern's; -1 when there is none. */
function strayByte(block: Buffer, at: number, pattern: Buffer, length: number): number {
  if (pattern.compare(block, at, at + length, 0, length) === 0) return -1;
  if (isZero(block, at, length)) return -1;
  for (let index = 0; index < length; index++) {
    const byte = block[at + index]!;
    if (byte !== 0 && byte !== pattern[index]) return at + index;
  }
  return -1;
}
