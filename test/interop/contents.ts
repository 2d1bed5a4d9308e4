// One file's content, changed in every way by Holdfast or by the kernel, and beside it what it should be.

import * as fs from "node:fs";
import type { Volume } from "../../src/index.ts";
import { type Random, randomFrom } from "../support/random.ts";
import { allocateFile, type FallocateMode } from "./libc.ts";

/** An open file that can be changed. Offsets and lengths are bytes. */
export interface Changeable {
  write(bytes: Uint8Array, position: number): void;
  truncate(size: number): void;
  fallocate(mode: FallocateMode, offset: number, length: number): void;
  close(): void;
}

/** Where files are opened to be changed; a path begins with a slash. Missing files are made. */
export type Opener = (path: string) => Changeable;

export function openInVolume(volume: Volume): Opener {
  return (path) => {
    if (!volume.existsSync(path)) volume.writeFileSync(path, "");
    const file = volume.openSync(path, "r+");
    return {
      write(bytes, position) {
        for (let done = 0; done < bytes.length; ) {
          done += file.writeSync(bytes.subarray(done), position + done);
        }
      },
      truncate: (size) => file.truncateSync(size),
      fallocate: (mode, offset, length) => file.fallocateSync(mode, offset, length),
      close: () => file.closeSync(),
    };
  };
}

export function openInDirectory(root: string): Opener {
  return (path) => {
    const at = `${root}${path}`;
    const file = fs.openSync(at, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    return {
      write: (bytes, position) => void fs.writeSync(file, bytes, 0, bytes.length, position),
      truncate: (size) => fs.ftruncateSync(file, size),
      fallocate: (mode, offset, length) => allocateFile(file, mode, offset, length),
      close: () => fs.closeSync(file),
    };
  };
}

/** What a file should hold. */
export class Model {
  bytes: Uint8Array = new Uint8Array(0);

  resize(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  write(bytes: Uint8Array, position: number): void {
    if (position + bytes.length > this.bytes.length) this.resize(position + bytes.length);
    this.bytes.set(bytes, position);
  }

  fallocate(mode: FallocateMode, offset: number, length: number): void {
    const end = offset + length;
    if (mode === "punch-hole" || mode === "zero-range") this.bytes.fill(0, offset, end);
    if ((mode === "allocate" || mode === "zero-range") && end > this.bytes.length) this.resize(end);
    const middle = mode === "insert-range" ? new Uint8Array(length) : new Uint8Array(0);
    const after = mode === "insert-range" ? offset : end;
    if (mode === "insert-range" || mode === "collapse-range") {
      this.bytes = Uint8Array.from(
        Buffer.concat([this.bytes.subarray(0, offset), middle, this.bytes.subarray(after)]),
      );
    }
  }
}

const SIZE_MAX = 3 * 2 ** 20;
/** Of a file with extents. */
export const MODES: readonly FallocateMode[] = [
  "allocate",
  "keep-size",
  "punch-hole",
  "punch-hole",
  "collapse-range",
  "insert-range",
  "zero-range",
];

/** Of a file with block pointers. */
export const MODES_OF_POINTERS: readonly FallocateMode[] = ["punch-hole"];

/** What files are changed by. */
export interface Changes {
  readonly blockSize: number;
  readonly modes: readonly FallocateMode[];
}

function changeOnce(
  file: Changeable,
  model: Model,
  random: Random,
  { blockSize, modes }: Changes,
): void {
  const size = model.bytes.length;
  const choice = random.below(20);
  if (choice < 9 || size < 4 * blockSize) {
    const bytes = new Uint8Array(1 + random.below(random.pick([100, 9000, 200_000])));
    bytes.fill(1 + random.below(255));
    const position = random.below(Math.min(size + 100_000, SIZE_MAX));
    file.write(bytes, position);
    model.write(bytes, position);
  } else if (choice < 11) {
    const target = random.below(Math.min(size * 2, SIZE_MAX));
    file.truncate(target);
    model.resize(target);
  } else {
    const mode = random.pick(modes);
    const whole = mode === "collapse-range" || mode === "insert-range";
    if (mode === "insert-range" && size > SIZE_MAX) return;
    const unit = whole ? blockSize : 1;
    const units = Math.floor((size - 1) / unit);
    const offset = random.below(Math.max(units - 1, 1)) * unit;
    const room = Math.max(units - offset / unit, 1);
    // A collapse must end before the file does.
    const most = mode === "collapse-range" ? Math.min(room, 20) : Math.min(room * 2, 100_000);
    const count = 1 + random.below(Math.min(most, whole ? 40 : most));
    if (mode === "collapse-range" && offset + count * unit >= size) return;
    file.fallocate(mode, offset, count * unit);
    model.fallocate(mode, offset, count * unit);
  }
}

/** Changes files at random, each many times, and their models alike. */
export function changeAtRandom(
  open: Opener,
  models: Map<string, Model>,
  seed: number,
  rounds: number,
  changes: Changes,
): void {
  const random = randomFrom(seed);
  const paths = [...models.keys()];
  const files = new Map(paths.map((path) => [path, open(path)]));
  for (let round = 0; round < rounds; round++) {
    const path = random.pick(paths);
    changeOnce(files.get(path) as Changeable, models.get(path) as Model, random, changes);
  }
  for (const file of files.values()) file.close();
}

/** Files of a directory of the kernel's whose content is not what its model says. */
export function wrongContents(root: string, models: ReadonlyMap<string, Model>): string[] {
  const wrong: string[] = [];
  for (const [path, { bytes }] of models) {
    const found = fs.readFileSync(`${root}${path}`);
    if (found.length !== bytes.length) {
      wrong.push(`${path} has ${found.length} bytes, expected ${bytes.length}`);
    } else if (Buffer.compare(found, bytes) !== 0) {
      const at = found.findIndex((byte, index) => byte !== bytes[index]);
      wrong.push(`${path} differs at byte ${at}: ${found[at]}, expected ${bytes[at]}`);
    }
  }
  return wrong;
}
