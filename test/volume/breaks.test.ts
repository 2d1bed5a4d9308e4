// What each public operation breaks: another thread holds a lease of every page, and which are recalled,
// and with which reason, shows which ranges the operation has broken. First all leases are shared, then
// all exclusive.

import { describe, expect, test } from "vitest";
import type { FileHandle, FileLease, Volume } from "../../src/index.ts";
import { type Runner, startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;
/** The file: 8 pages of data, 4 of hole, 2 unwritten, 2 of data; then its end. */
const FILE_PAGES = 16;
/** Leases of a page each; one more is of all that follows. */
const PAGES = 20;
const NONE = ".".repeat(PAGES + 1);

/** Pages [first, last] broken: "w" for a write, "u" for a layout change, "l" for another lease. */
function broken(letter: "w" | "u" | "l", first: number, last = PAGES): string {
  return NONE.slice(0, first) + letter.repeat(last - first + 1) + NONE.slice(last + 1);
}

interface Row {
  /** The methods that it is about, without "Sync". */
  readonly calls: readonly string[];
  readonly about: string;
  readonly run: (volume: Volume, file: FileHandle, path: string) => unknown;
  /** Where blocks can be shared only; what is done before there are leases. */
  readonly before?: (volume: Volume, file: FileHandle, path: string) => unknown;
  /** What it breaks where all pages are leased shared, and where exclusively. */
  readonly shared: string;
  readonly exclusive: string;
}

const rows: Row[] = [];

/** Where the format has attributes. */
function changeAttributes(on: Volume, path: string): void;
function changeAttributes(on: FileHandle): void;
// biome-ignore lint/suspicious/noExplicitAny: both take the same after the path
function changeAttributes(on: any, ...path: string[]): void {
  try {
    on.setxattrSync(...path, "user.a", Buffer.from("value"));
    on.getxattrSync(...path, "user.a");
    on.listxattrSync(...path);
    on.removexattrSync(...path, "user.a");
  } catch (error) {
    expect(error).toMatchObject({ code: "EOPNOTSUPP" });
  }
}

function row(
  calls: string,
  about: string,
  run: Row["run"],
  shared = NONE,
  exclusive = shared,
): void {
  rows.push({ calls: calls.split(" "), about, run, shared, exclusive });
}

/** A row about files that share blocks. */
function sharingRow(
  calls: string,
  about: string,
  before: NonNullable<Row["before"]>,
  run: Row["run"],
  shared: string,
  exclusive = shared,
): void {
  rows.push({ calls: calls.split(" "), about, before, run, shared, exclusive });
}

const bytes = (pages: number): Uint8Array => new Uint8Array(pages * PAGE).fill(9);

// What changes no byte and moves no block.
row("FileHandle.read", "reading", (_volume, file) => file.readSync(bytes(16), 0));
row("FileHandle.readFile", "reading all", (_volume, file) => file.readFileSync());
row("FileHandle.stat", "fstat", (_volume, file) => file.statSync());
row("FileHandle.chmod", "fchmod", (_volume, file) => file.chmodSync(0o600));
row("FileHandle.chown", "fchown", (_volume, file) => file.chownSync(1, 1));
row("FileHandle.utimes", "futimes", (_volume, file) => file.utimesSync(1, 2));
row("FileHandle.sync", "fsync", (_volume, file) => file.syncSync());
row("FileHandle.map", "loads through a window, of data and of holes", (_volume, file) => {
  using window = file.map({ writable: false });
  return window.bytes.reduce((sum, byte) => sum + byte, 0);
});
row("FileHandle.map", "a store through a window, into a hole as well", (_volume, file) => {
  using window = file.map();
  window.bytes[0] = 1;
  window.bytes[9 * PAGE] = 1;
});
row("FileHandle.pin", "a pin of data and of a hole", (_volume, file) =>
  file.pinSync(7 * PAGE, 2 * PAGE, { write: true }).release(),
);
row("Volume.pinAll", "pins of data and of a hole at once", (volume, file) => {
  const ranges = [7, 8].map((page) => ({ file, offset: page * PAGE, length: PAGE, write: true }));
  for (const pin of volume.pinAllSync(ranges)) pin.release();
});
row("FileHandle.reclaim", "taking it out of memory", (_volume, file) => file.reclaimSync());
row("FileHandle.holders Volume.holders", "asking who holds it", (volume, file, path) => [
  file.holders(),
  volume.holdersSync(path),
]);
row("FileHandle.extents FileHandle.seek", "asking where it lies", (_volume, file) => [
  file.extentsSync(),
  file.seekSync(0, "hole"),
]);
row("FileHandle.close Volume.open", "opening and closing", (volume, _file, path) =>
  volume.openSync(path, "r+").closeSync(),
);
row("Volume.open", "opening for appending", (volume, _file, path) =>
  volume.openSync(path, "a+").closeSync(),
);
row("Volume.readFile", "reading by path", (volume, _file, path) => volume.readFileSync(path));
row("Volume.stat", "stat", (volume, _file, path) => volume.statSync(path));
row("Volume.lstat", "lstat", (volume, _file, path) => volume.lstatSync(path));
row("Volume.exists", "exists", (volume, _file, path) => volume.existsSync(path));
row("Volume.chmod", "chmod", (volume, _file, path) => volume.chmodSync(path, 0o640));
row("Volume.chown", "chown", (volume, _file, path) => volume.chownSync(path, 1, 1));
row("Volume.lchown", "lchown", (volume, _file, path) => volume.lchownSync(path, 1, 1));
row("Volume.utimes", "utimes", (volume, _file, path) => volume.utimesSync(path, 1, 2));
row("Volume.lutimes", "lutimes", (volume, _file, path) => volume.lutimesSync(path, 1, 2));
row(
  "Volume.getxattr Volume.setxattr Volume.listxattr Volume.removexattr",
  "extended attributes",
  (volume, _file, path) => changeAttributes(volume, path),
);
row(
  "FileHandle.getxattr FileHandle.setxattr FileHandle.listxattr FileHandle.removexattr",
  "extended attributes of an open file",
  (_volume, file) => changeAttributes(file),
);
row("Volume.setDax", "choosing how it is reached", (volume, _file, path) =>
  volume.setDaxSync(path, false),
);
row("Volume.blockOwners", "asking who has blocks", (volume) =>
  volume.blockOwnersSync({ deviceOffset: 0, length: PAGE }),
);
row("Volume.trim", "discarding what is free", (volume) => {
  if (volume.type === "ram") expect(() => volume.trimSync()).toThrow("EOPNOTSUPP");
  else expect(volume.trimSync()).toBeGreaterThan(0);
});
row("Volume.sync", "sync", (volume) => volume.syncSync());
row("Volume.grow", "making the volume larger, where the format can", (volume) => {
  try {
    volume.growSync();
  } catch (error) {
    expect(error).toMatchObject({ code: "EOPNOTSUPP" });
  }
});
row("Volume.link", "another name", (volume, _file, path) => volume.linkSync(path, `${path}-link`));
row("Volume.symlink Volume.readlink", "a symlink", (volume, _file, path) => {
  volume.symlinkSync(path, `${path}-symlink`);
  volume.readlinkSync(`${path}-symlink`);
});
row("Volume.rename", "another name instead", (volume, _file, path) =>
  volume.renameSync(path, `${path}-moved`),
);
// The leases keep the file: its blocks stay until the last of them is returned.
row(
  "Volume.rename",
  "a rename over it, and the last close of this thread",
  (volume, file, path) => {
    volume.writeFileSync(`${path}-other`, "other");
    volume.renameSync(`${path}-other`, path);
    file.closeSync();
  },
);
row("Volume.unlink", "unlink, and the last close of this thread", (volume, file, path) => {
  volume.unlinkSync(path);
  file.closeSync();
});

// Writes.
row(
  "FileHandle.write",
  "a write of some bytes in place",
  (_volume, file) => file.writeSync(new Uint8Array(10), PAGE + 5),
  NONE,
  broken("w", 1, 1),
);
row(
  "FileHandle.write",
  "a write across pages",
  (_volume, file) => file.writeSync(new Uint8Array(10), 2 * PAGE - 5),
  NONE,
  broken("w", 1, 2),
);
row("FileHandle.write", "a write of nothing", (_volume, file) => file.writeSync(bytes(0), 0));
row(
  "FileHandle.write",
  "a write into a hole",
  (_volume, file) => file.writeSync(new Uint8Array(10), 9 * PAGE),
  broken("w", 9, 9),
);
row(
  "FileHandle.write",
  "a write from data into a hole: of the data, exclusive leases only",
  (_volume, file) => file.writeSync(bytes(2), 7 * PAGE),
  broken("w", 8, 8),
  broken("w", 7, 8),
);
row(
  "FileHandle.write",
  "a write to what is unwritten",
  (_volume, file) => file.writeSync(new Uint8Array(10), 12 * PAGE),
  broken("w", 12, 12),
);
row(
  "FileHandle.write",
  "an append",
  (volume, _file, path) => {
    using file = volume.openSync(path, "a");
    file.writeSync(bytes(1), 0);
  },
  broken("w", 16, 16),
);
row(
  "FileHandle.write",
  "a write beyond the end: not of what becomes a hole",
  (_volume, file) => file.writeSync(bytes(1), 18 * PAGE),
  broken("w", 18, 18),
);
row(
  "FileHandle.writeFile",
  "writing all of it",
  (_volume, file) => file.writeFileSync("short"),
  broken("u", 0),
);
row(
  "Volume.writeFile",
  "writing all of it by path",
  (volume, _file, path) => volume.writeFileSync(path, "short"),
  broken("u", 0),
);

// Changes of the layout.
row(
  "Volume.open",
  "opening for writing anew",
  (volume, _file, path) => volume.openSync(path, "w").closeSync(),
  broken("u", 0),
);
row(
  "FileHandle.truncate",
  "truncate down, into a page",
  (_volume, file) => file.truncateSync(10 * PAGE + 1),
  broken("u", 10),
);
row(
  "Volume.truncate",
  "truncate down, between pages",
  (volume, _file, path) => volume.truncateSync(path, 10 * PAGE),
  broken("u", 10),
);
row("FileHandle.truncate", "truncate to the same size", (_volume, file) =>
  file.truncateSync(FILE_PAGES * PAGE),
);
row(
  "FileHandle.truncate",
  "truncate to the same size, where something is allocated beyond it",
  (_volume, file) => {
    file.fallocateSync("keep-size", 16 * PAGE, 2 * PAGE);
    file.truncateSync(FILE_PAGES * PAGE);
  },
  `${NONE.slice(0, 16)}ww${broken("u", 18).slice(18)}`,
);
row("FileHandle.truncate", "truncate up", (_volume, file) =>
  file.truncateSync((FILE_PAGES + 2) * PAGE),
);
row(
  "FileHandle.fallocate",
  "allocate: the holes only",
  (_volume, file) => file.fallocateSync("allocate", 6 * PAGE, 7 * PAGE),
  broken("w", 8, 11),
);
row("FileHandle.fallocate", "allocate, where there are blocks", (_volume, file) =>
  file.fallocateSync("allocate", 0, 5 * PAGE),
);
row(
  "FileHandle.fallocate",
  "allocate, beyond the end",
  (_volume, file) => file.fallocateSync("allocate", 15 * PAGE, 3 * PAGE),
  broken("w", 16, 17),
);
row(
  "FileHandle.fallocate",
  "keep-size, beyond the end",
  (_volume, file) => file.fallocateSync("keep-size", 16 * PAGE, 2 * PAGE),
  broken("w", 16, 17),
);
row(
  "FileHandle.fallocate",
  "punch-hole",
  (_volume, file) => file.fallocateSync("punch-hole", 2 * PAGE, 2 * PAGE),
  broken("u", 2, 3),
);
row(
  "FileHandle.fallocate",
  "punch-hole within a page",
  (_volume, file) => file.fallocateSync("punch-hole", 2 * PAGE + 10, 10),
  broken("u", 2, 2),
);
row(
  "FileHandle.fallocate",
  "zero-range",
  (_volume, file) => file.fallocateSync("zero-range", 4 * PAGE, 5 * PAGE),
  broken("u", 4, 8),
);
row(
  "FileHandle.fallocate",
  "zero-range, over the end",
  (_volume, file) => file.fallocateSync("zero-range", 15 * PAGE, 3 * PAGE),
  broken("u", 15, 17),
);
row(
  "FileHandle.fallocate",
  "collapse-range: all that moves",
  (_volume, file) => file.fallocateSync("collapse-range", 4 * PAGE, 2 * PAGE),
  broken("u", 4),
);
row(
  "FileHandle.fallocate",
  "insert-range: all that moves",
  (_volume, file) => file.fallocateSync("insert-range", 4 * PAGE, 2 * PAGE),
  broken("u", 4),
);

// Files that share blocks: what of the file is shared, and every copy.
const other = (volume: Volume, _file: FileHandle, path: string): void =>
  volume.writeFileSync(`${path}-other`, bytes(4));
const clone = (volume: Volume, _file: FileHandle, path: string): void =>
  volume.reflinkSync(path, `${path}-other`);

sharingRow("Volume.reflink", "as the source of a clone", () => {}, clone, broken("u", 0, 15));
sharingRow(
  "FileHandle.cloneRange",
  "a clone into it",
  other,
  (volume, file, path) => {
    using source = volume.openSync(`${path}-other`, "r");
    file.cloneRangeSync(source, { offset: 3 * PAGE, length: 2 * PAGE });
  },
  broken("u", 3, 4),
);
sharingRow(
  "FileHandle.dedupeRange",
  "a dedupe",
  other,
  (volume, file, path) => {
    using source = volume.openSync(`${path}-other`, "r");
    file.dedupeRangeSync(source, { offset: 2 * PAGE, length: 2 * PAGE });
  },
  broken("u", 2, 3),
);
sharingRow(
  "FileHandle.write",
  "a write of some bytes to what is shared",
  clone,
  (_volume, file) => file.writeSync(new Uint8Array(10), 2 * PAGE - 5),
  broken("u", 1, 2),
);
sharingRow(
  "FileHandle.map",
  "a touch of what is shared through a window that writes: it copies what follows as well",
  clone,
  (_volume, file) => {
    using window = file.map();
    return window.bytes[5 * PAGE];
  },
  broken("u", 5, 7),
);
sharingRow(
  "FileHandle.pin",
  "a pin of what is shared, to write or to read: it is copied first",
  clone,
  (_volume, file) => {
    file.pinSync(3 * PAGE, PAGE, { write: true }).release();
    file.pinSync(4 * PAGE, 2 * PAGE).release();
  },
  broken("u", 3, 5),
);
sharingRow(
  "FileHandle.fallocate",
  "unshare-range: what is shared, and holes",
  clone,
  (_volume, file) => file.fallocateSync("unshare-range", 6 * PAGE, 3 * PAGE),
  `${NONE.slice(0, 6)}uuw${NONE.slice(9)}`,
);

// Leases.
row(
  "FileHandle.lease",
  "a shared lease",
  (_volume, file) => file.leaseSync({ offset: 3 * PAGE, length: PAGE }).release(),
  NONE,
  broken("l", 3, 3),
);
row(
  "FileHandle.lease",
  "an exclusive lease",
  (_volume, file) =>
    file.leaseSync({ offset: 3 * PAGE + 1, length: PAGE, kind: "exclusive" }).release(),
  broken("l", 3, 4),
);

/** Methods that are about no file's content. */
const OTHERS = "Volume: share readdir mkdir rmdir mknod statfs statistics close trace";

function methodsOf(name: string, object: object): string[] {
  const prototype = Object.getPrototypeOf(object) as object;
  return Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([key, { value }]) => typeof value === "function" && key !== "constructor")
    .map(([key]) => `${name}.${key.replace(/(Sync|Async)$/, "")}`);
}

/** Has the worker lease every page; each lease is returned as soon as it is recalled. */
function leasePages(worker: Runner, path: string, kind: "shared" | "exclusive"): Promise<void> {
  return worker.run(
    (volume, kept, inner, how, pages) => {
      const recalled: string[] = Array.from({ length: pages + 1 }, () => ".");
      const file = volume.openSync(inner, "r+");
      const leases = recalled.map((_none, index) =>
        file.leaseSync({
          offset: index * 4096,
          ...(index < pages ? { length: 4096 } : {}),
          kind: how,
          onRecall: (reason: string, lease: FileLease) => {
            recalled[index] = reason[0]!;
            lease.release();
          },
        }),
      );
      Object.assign(kept, { file, leases, recalled });
    },
    path,
    kind,
    PAGES,
  );
}

/** Which were recalled; the others are returned. */
function recalledPages(worker: Runner): Promise<string> {
  return worker.run((_volume, kept) => {
    for (const lease of kept["leases"] as FileLease[]) lease.release();
    (kept["file"] as FileHandle).closeSync();
    return (kept["recalled"] as string[]).join("");
  });
}

function makeFile(volume: Volume, path: string): FileHandle {
  const file = volume.openSync(path, "w+");
  file.writeSync(bytes(8), 0);
  file.writeSync(bytes(2), 14 * PAGE);
  file.fallocateSync("keep-size", 12 * PAGE, 2 * PAGE);
  return file;
}

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name", (kind) => {
  test.each(["shared", "exclusive"] as const)(
    "every operation breaks exactly what it changes: all pages leased %s",
    { timeout: 120_000 },
    async (leased) => {
      using made = kind.make();
      const { volume } = made;
      await using worker = await startRunner(volume.share());
      const found: Record<string, string> = {};
      const wanted: Record<string, string> = {};
      for (const [index, { calls, about, before, run, [leased]: expected }] of rows.entries()) {
        if (before !== undefined && kind.name !== "ram") continue;
        const path = `/file${index}`;
        const file = makeFile(volume, path);
        before?.(volume, file, path);
        await leasePages(worker, path, leased);
        run(volume, file, path);
        const name = `${calls.join(", ")}: ${about}`;
        found[name] = await recalledPages(worker);
        wanted[name] = expected;
        file.closeSync();
      }
      expect(found).toEqual(wanted);
      await worker.run((inner) => inner.close());
      expect(made.closeAndCheck()).toBe("");
    },
  );

  test("no public operation is missing from the walk", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    const [owner, names] = OTHERS.split(": ") as [string, string];
    const covered = new Set(rows.flatMap(({ calls }) => calls));
    for (const name of names.split(" ")) covered.add(`${owner}.${name}`);
    const methods = [...methodsOf("FileHandle", file), ...methodsOf("Volume", made.volume)];
    expect(methods.filter((name) => !covered.has(name))).toEqual([]);
  });
});
