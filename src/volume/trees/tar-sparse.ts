/**
 * Sparse files in tar archives, in the ways that GNU tar has written them: its own old header, and records
 * of pax, versions 0.1 and 1.0.
 *
 * Source: the manual of GNU tar, "Storing Sparse Files".
 */
import type { ByteRun } from "../../device/index.ts";
import { damagedTar, type PaxRecords, TAR_BLOCK } from "./tar-headers.ts";

/** Where the parts of a file lie that are not holes. */
export interface SparseMap {
  /** Of the file, holes included. */
  readonly size: number;
  readonly runs: readonly ByteRun[];
  /** Where the archive has the first part's bytes; the others follow. */
  readonly dataAt: number;
  /** Where the next header is. */
  readonly archiveEnd: number;
}

type ReadArchive = (at: number, length: number) => Buffer;

const NUMBER_BYTES = 12;
const IN_HEADER = { at: 386, count: 4, more: 482, size: 483 };
const IN_BLOCK = { at: 0, count: 21, more: 504 };

/** The map in an old header at `at` and the blocks behind it. Throws: EINVAL. */
export function oldSparseMap(read: ReadArchive, at: number, dataBytes: number): SparseMap {
  const runs: ByteRun[] = [];
  let block = read(at, TAR_BLOCK);
  const size = octal(block, IN_HEADER.size, at);
  addRuns(runs, block, IN_HEADER, at);
  let dataAt = at + TAR_BLOCK;
  let more = block[IN_HEADER.more] !== 0;
  while (more) {
    block = read(dataAt, TAR_BLOCK);
    addRuns(runs, block, IN_BLOCK, at);
    more = block[IN_BLOCK.more] !== 0;
    dataAt += TAR_BLOCK;
  }
  return { size, runs, dataAt, archiveEnd: dataAt + Math.ceil(dataBytes / TAR_BLOCK) * TAR_BLOCK };
}

function addRuns(
  runs: ByteRun[],
  block: Buffer,
  place: { readonly at: number; readonly count: number },
  header: number,
): void {
  for (let index = 0; index < place.count; index++) {
    const at = place.at + index * 2 * NUMBER_BYTES;
    if (block[at] === 0) return;
    const start = octal(block, at, header);
    runs.push({ start, length: octal(block, at + NUMBER_BYTES, header) });
  }
}

/** Octal digits, or base 256 behind a first byte of 0x80. */
function octal(block: Buffer, at: number, header: number): number {
  const field = block.subarray(at, at + NUMBER_BYTES);
  if (field[0] === 0x80) return Number(BigInt(`0x${field.subarray(1).toString("hex")}`));
  const digits = field.toString("latin1").replace(/[\0 ]+$/, "");
  if (!/^[0-7]+$/.test(digits)) throw damagedTar(header, "its map of a sparse file cannot be read");
  return Number.parseInt(digits, 8);
}

/** The map that records of pax give or announce, or null where the file is not sparse. Throws: EINVAL. */
export function readSparseMap(
  read: ReadArchive,
  pax: PaxRecords,
  { dataAt, size }: { readonly dataAt: number; readonly size: number },
  at: number,
): SparseMap | null {
  const value = (keyword: string) => pax.get(`GNU.sparse.${keyword}`)?.toString("latin1");
  const archiveEnd = dataAt + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  const version = `${value("major") ?? "0"}.${value("minor") ?? "0"}`;
  if (version === "1.0") {
    const map = mapBefore(read, dataAt, archiveEnd, at);
    return { size: wholeNumber(value("realsize"), at), ...map, archiveEnd };
  }
  const list = value("map");
  if (list !== undefined) {
    const runs = runsOf(list.split(",").map((each) => wholeNumber(each, at)));
    return { size: wholeNumber(value("size"), at), runs, dataAt, archiveEnd };
  }
  if (value("size") === undefined) return null;
  throw damagedTar(at, `sparse files of version ${version} are not read; write them as 1.0`);
}

/** The map of version 1.0: lines of digits before the data, filled up to a whole block. */
function mapBefore(
  read: ReadArchive,
  dataAt: number,
  end: number,
  at: number,
): Pick<SparseMap, "runs" | "dataAt"> {
  const numbers: number[] = [];
  let rest = "";
  for (let next = dataAt; next < end; ) {
    rest += read(next, TAR_BLOCK).toString("latin1");
    next += TAR_BLOCK;
    const lines = rest.split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (numbers.length > 0 && numbers.length > 2 * numbers[0]!) break;
      numbers.push(wholeNumber(line, at));
    }
    if (numbers.length > 0 && numbers.length > 2 * numbers[0]!) {
      return { runs: runsOf(numbers.slice(1)), dataAt: next };
    }
  }
  throw damagedTar(at, "its map of a sparse file does not end");
}

function runsOf(numbers: readonly number[]): ByteRun[] {
  const runs: ByteRun[] = [];
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    runs.push({ start: numbers[index]!, length: numbers[index + 1]! });
  }
  return runs;
}

function wholeNumber(text: string | undefined, at: number): number {
  const value = text !== undefined && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw damagedTar(at, `'${text ?? ""}' is no number of its sparse file`);
}
