// Operations of which crash tests are made: each changes a volume in one step, as its user sees it.

import type { OpenMode, Volume } from "../../src/index.ts";

export interface Operation {
  readonly name: string;
  run(volume: Volume): void;
  /** All that was done before it returns is durable then. */
  readonly syncs?: boolean;
}

/** What every sequence begins with: two directories, a file of some blocks in the first, a link in the other. */
export function prepare(volume: Volume): void {
  volume.mkdirSync("/A");
  volume.mkdirSync("/B");
  volume.writeFileSync("/A/foo", Buffer.alloc(3 * 4096 + 700, "f"));
  volume.writeFileSync("/A/bar", Buffer.alloc(9000, "b"));
  volume.linkSync("/A/bar", "/B/link");
  volume.symlinkSync("/A/foo", "/B/symlink");
}

const onFile =
  (path: string, work: (file: ReturnType<Volume["openSync"]>) => void, flags: OpenMode = "r+") =>
  (volume: Volume): void => {
    using file = volume.openSync(path, flags);
    work(file);
  };

export const operations: readonly Operation[] = [
  { name: "create", run: onFile("/A/new", () => {}, "wx") },
  {
    name: "overwrite",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(5000, "O"), 1000)),
  },
  {
    name: "append",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(3000, "P"), 3 * 4096 + 700)),
  },
  {
    name: "write beyond the end",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(900, "E"), 40_000)),
  },
  { name: "cut", run: onFile("/A/foo", (file) => file.truncateSync(4096)) },
  { name: "cut to nothing", run: onFile("/A/bar", (file) => file.truncateSync(0)) },
  { name: "grow", run: onFile("/A/bar", (file) => file.truncateSync(30_000)) },
  {
    name: "punch",
    run: onFile("/A/foo", (file) => file.fallocateSync("punch-hole", 4096, 4096)),
  },
  {
    name: "preallocate",
    run: onFile("/A/foo", (file) => file.fallocateSync("allocate", 16_384, 8192)),
  },
  { name: "mkdir", run: (volume) => void volume.mkdirSync("/A/dir") },
  { name: "unlink", run: (volume) => volume.unlinkSync("/A/foo") },
  { name: "unlink one of two names", run: (volume) => volume.unlinkSync("/A/bar") },
  { name: "rename", run: (volume) => volume.renameSync("/A/bar", "/A/baz") },
  { name: "rename elsewhere", run: (volume) => volume.renameSync("/A/foo", "/B/foo") },
  { name: "rename over", run: (volume) => volume.renameSync("/A/foo", "/A/bar") },
  { name: "rename a directory", run: (volume) => volume.renameSync("/A", "/B/A") },
  { name: "link", run: (volume) => volume.linkSync("/A/foo", "/B/second") },
  { name: "symlink", run: (volume) => volume.symlinkSync("x".repeat(80), "/A/long") },
  { name: "chmod", run: (volume) => volume.chmodSync("/A/foo", 0o600) },
  { name: "chown", run: (volume) => volume.chownSync("/A/foo", 1000, 70_000) },
  { name: "fsync", run: onFile("/A/foo", (file) => file.syncSync()), syncs: true },
  { name: "sync", run: (volume) => volume.syncSync(), syncs: true },
];
