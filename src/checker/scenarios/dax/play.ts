/** What the scenarios of direct access have in common: a volume, and what its actors do. */
import { AbortError, HoldfastError } from "../../../base/errors.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { writeFile } from "../../../dax/file-io.ts";
import { punchHole, truncateFile } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { type BadRange, handlePoison, type HoldMapping } from "../../../dax/poison.ts";
import { writeBack } from "../../../dax/write-back.ts";
import type { PoisonReport } from "../../../pages/bad-pages.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Scenario, type Self } from "../../scenario.ts";
import { buildVolume, type VolumeShared, type VolumeSpec } from "../../world/build.ts";
import { holdFile } from "../../world/poison.ts";
import { type Story, storyIn } from "../../world/plots.ts";
import { Volume } from "../../world/volume.ts";

export type VolumeStory = Story<VolumeShared, Volume> & Omit<VolumeSpec, "actors">;

/** A scenario over a volume. */
export function volumeStory(story: VolumeStory): Scenario<VolumeShared, Volume> {
  const shown = story.files.map(({ name, pages }) => {
    const count = Math.min(pages.length + 1, 4);
    return [name, (volume: Volume) => volume.fileShown(volume.file(name), count)] as const;
  });
  return storyIn(
    {
      build: (actors) => buildVolume({ ...story, actors }),
      begin: (shared, selves) => new Volume(shared, selves),
      watch: Object.fromEntries(shown),
    },
    { explore: { strategy: "bounded", preemptions: 2 }, ...story },
  );
}

/** Truncates a file to so many bytes. */
export function* truncate(volume: Volume, self: Self, name = "A", size = 0): Sleeps<void> {
  yield* truncateFile(self.task, volume.dax(self), volume.file(name).mapping, size);
}

/** Punches pages of file A. */
export function* punch(volume: Volume, self: Self, first: number, count: number): Sleeps<void> {
  const { mapping } = volume.file("A");
  yield* punchHole(self.task, volume.dax(self), mapping, first * PAGE_SIZE, count * PAGE_SIZE);
}

/**
 * Handles a report of lost pages. Returns what it tells, by device page; the file that it names has the pages
 * then. `hold`: what is in memory.
 */
export function* handleReport(
  volume: Volume,
  self: Self,
  report: PoisonReport,
  hold: HoldMapping = (ino) => holdFile(volume, ino),
): Sleeps<BadRange[]> {
  const told: BadRange[] = [];
  const tell = (range: BadRange): void => {
    told.push(range);
    const file = volume.shared.files.find(({ ino }) => ino === range.owner?.ino);
    if (file === undefined || range.owner?.use !== "data") return;
    const block = volume.blockHeld(file, range.owner.index);
    ensure(block === range.first, `block ${range.first} is told to be file ${file.name}'s`);
    const isCopied = volume.dax(self).pageCache !== null;
    for (let page = 0; !isCopied && page <= range.last - range.first; page++) {
      const isShown = volume.isShown(file, range.owner.index + page);
      ensure(!isShown, `block ${range.first + page} is told as lost while a window shows it`);
    }
  };
  yield* handlePoison(self.task, volume.dax(self), report, hold, tell);
  return told.sort((a, b) => a.first - b.first);
}

/** Runs what may end with an error of one of these codes. Returns whether it did. */
export function* mayFail(
  self: Self,
  codes: readonly string[],
  operation: () => Sleeps<unknown>,
): Sleeps<boolean> {
  try {
    yield* operation();
    return false;
  } catch (error) {
    const expected = error instanceof HoldfastError || error instanceof AbortError;
    if (!expected || !codes.includes(String(error.code))) throw error;
    self.say(`it ends with ${error.code}`);
    return true;
  }
}

/** Demands that an operation is refused with this code. */
export function* refused(
  self: Self,
  code: string,
  operation: () => Sleeps<unknown>,
  what = "an operation",
): Sleeps<void> {
  ensure(yield* mayFail(self, [code], operation), `${what} is not refused with ${code}`);
}

/** An I/O of whole pages into a pin, or none where they are past the end (or another code). */
export function* pinnedIo(
  volume: Volume,
  self: Self,
  first: number,
  count: number,
  codes: readonly string[] = ["EINVAL"],
  name = "A",
): Sleeps<void> {
  const file = volume.file(name);
  const [offset, length] = [first * PAGE_SIZE, count * PAGE_SIZE];
  yield* mayFail(self, codes, function* () {
    const dax = volume.dax(self);
    const pin = yield* pinRange(self.task, dax, file.mapping, offset, length, true);
    volume.io(self, file, pin, "W");
  });
}

const sources = new Map<string, Uint8Array>();

/** Writes whole pages of `letter` by copy. Returns the bytes written. */
export function* writePages(
  volume: Volume,
  self: Self,
  name: string,
  first: number,
  count: number,
  letter = name,
): Sleeps<number> {
  const { mapping } = volume.file(name);
  const key = `${letter}${count}`;
  let source = sources.get(key);
  if (source === undefined) {
    source = new Uint8Array(count * PAGE_SIZE).fill(letter.charCodeAt(0));
    sources.set(key, source);
  }
  return yield* writeFile(self.task, volume.dax(self), mapping, source, first * PAGE_SIZE);
}

/** Demands that a file holds only what may be there: a letter a page, "." for zeroes. */
export function ensureShown(volume: Volume, name: string, allowed: readonly string[]): void {
  const file = volume.file(name);
  const pages = volume.sizeOf(file) / PAGE_SIZE;
  const shown = volume.fileShown(file, pages);
  ensure(
    allowed.includes(shown),
    `file ${name} holds "${shown}" at the end; it may hold "${allowed.join('", "')}"`,
  );
}

/** Loads a page and demands that it is one of these. */
export function* loads(
  volume: Volume,
  self: Self,
  window: number,
  page: number,
  allowed: readonly string[],
): Sleeps<void> {
  const found = yield* volume.load(self, window, page);
  self.say(`it loads ${found}`);
  ensure(
    allowed.includes(found),
    `${self.name} loads "${found}" from page ${page}; it may find "${allowed.join('", "')}"`,
  );
}

/** As fsync does with a file's data. */
export function* sync(volume: Volume, self: Self, name = "A"): Sleeps<void> {
  yield* writeBack(self.task, volume.dax(self), volume.file(name).mapping);
}

/** The same, after which what the file holds there must be persistent: nobody else writes there. */
export function* syncsAll(
  volume: Volume,
  self: Self,
  first = 0,
  count = Number.POSITIVE_INFINITY,
): Sleeps<void> {
  yield* sync(volume, self);
  volume.ensurePersistent(volume.file("A"), `after ${self.name}'s write-back`, first, count);
}
