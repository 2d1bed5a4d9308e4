// Uses damaged images one after another, in a process that may hang or crash without taking the test along.
// Every image is mounted read-only and read from end to end, then mounted for writing and changed. Each
// report says what was answered; `problems` are answers that no damage excuses.

import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { CorruptionError, HoldfastError, mountSync } from "holdfast";

/** @typedef {import("holdfast").Volume} Volume */
/** @typedef {import("holdfast").Stats} Stats */
/** @typedef {import("../mutations.ts").Damaged} Damaged */
/** @typedef {import("../inspection.ts").Job} Job */
/** @typedef {import("../inspection.ts").InspectionReport} InspectionReport */
/**
 * What a walk found at a path: a directory's entries, a file's content (null: only samples were read)
 * or a symlink's target; undefined where reading it failed.
 * @typedef {{
 *   entries?: import("holdfast").DirectoryEntry[] | undefined,
 *   content?: Uint8Array | null | undefined,
 *   target?: string | undefined,
 * }} Found
 */
/** @typedef {(path: Buffer, stats: Stats, found: Found) => void} Visit */
/**
 * @typedef {{
 *   path: Buffer, facts: string, isDirectory: boolean, names: string | undefined,
 *   content: Uint8Array | null | undefined, target: string | undefined,
 * }} Known
 */
/** @typedef {Map<number, Known>} Survey The inodes of the undamaged image. */

const REGION_BYTES = 2 ** 24;
/** Larger files are read in samples. Damage can make a file as large as the format allows. */
const WHOLE_BYTES_MAX = 2 ** 25;
const SAMPLE_BYTES = 2 ** 16;
/** At most this many names of a directory are looked up one by one. */
const LOOKUPS_MAX = 40;
const VISITS_MAX = 5000;

/** What one image answered. */
class Report {
  /** How often each code came, while reading and while changing. */
  /** @type {Record<string, number>} */
  reading = {};
  /** @type {Record<string, number>} */
  changing = {};
  codes = this.reading;
  refused = false;
  /** @type {string[]} */
  problems = [];

  /** @param {string} stage @param {string} text */
  fail(stage, text) {
    if (this.problems.length < 6) this.problems.push(`${stage}: ${text}`);
  }

  /**
   * An error is counted, and looked at: is it one that tells a person what is wrong?
   * @param {string} stage @param {unknown} error
   */
  note(stage, error) {
    if (!(error instanceof HoldfastError)) {
      const shown = error instanceof Error ? error.stack : String(error);
      this.fail(stage, `not a HoldfastError: ${shown}`);
      return;
    }
    const { code, message } = error;
    const damage = error instanceof CorruptionError ? error.damage : undefined;
    this.codes[code] = (this.codes[code] ?? 0) + 1;
    if (!message.startsWith(`${code}: `) || message.length < code.length + 8) {
      this.fail(stage, `the message explains nothing: ${message}`);
    }
    if (code === "EUCLEAN" && !(damage?.structure && damage.field && damage.expected)) {
      this.fail(stage, `the damage is not named: ${message}`);
    }
  }

  /**
   * The operation's value, or undefined when it failed as it may.
   * @template T
   * @param {string} stage @param {() => T} operation
   */
  attempt(stage, operation) {
    try {
      return operation();
    } catch (error) {
      this.note(stage, error);
      return undefined;
    }
  }
}

/** @param {Volume} volume @param {Buffer} path @param {number} size */
function readWhole(volume, path, size) {
  if (size <= WHOLE_BYTES_MAX) return volume.readFileSync(path);
  const file = volume.openSync(path);
  try {
    const sample = new Uint8Array(SAMPLE_BYTES);
    for (const part of [0, 0.01, 0.1, 0.37, 0.5, 0.9])
      file.readSync(sample, Math.floor(size * part));
    file.readSync(sample, size - 10);
    // No buffer is that large: refused, and not by the engine.
    if (size > 2 ** 40) file.readFileSync();
  } finally {
    file.closeSync();
  }
  return null;
}

/** @param {Buffer} directory @param {Uint8Array} name */
const join = (directory, name) => Buffer.concat([directory, Buffer.from("/"), name]);

/**
 * Visits everything below the root.
 * @param {Volume} volume @param {Report} report @param {Visit} visit
 */
function walk(volume, report, visit) {
  /** @type {Set<number>} */
  const seen = new Set();
  const stack = [Buffer.alloc(0)];
  let visits = 0;
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    const parent = directory;
    const root = parent.length === 0 ? Buffer.from("/") : parent;
    const entries = report.attempt("readdir", () =>
      volume.readdirSync(root, { withFileTypes: true }),
    );
    const stats = report.attempt("stat", () => volume.lstatSync(root));
    if (stats !== undefined) visit(root, stats, { entries });
    if (entries === undefined) continue;
    const step = Math.max(1, Math.floor(entries.length / LOOKUPS_MAX));
    for (const [index, { nameBytes }] of entries.entries()) {
      if (entries.length > 100 && index % step !== 0) continue;
      if (++visits > VISITS_MAX) return;
      visitOne(volume, report, join(parent, nameBytes), seen, stack, visit);
    }
  }
}

/**
 * @param {Volume} volume @param {Report} report @param {Buffer} path
 * @param {Set<number>} seen @param {Buffer[]} stack @param {Visit} visit
 */
function visitOne(volume, report, path, seen, stack, visit) {
  const stats = report.attempt("lookup", () => volume.lstatSync(path));
  if (stats === undefined) return;
  const isNew = !seen.has(stats.ino);
  seen.add(stats.ino);
  if (stats.isDirectory()) {
    if (isNew) stack.push(path);
    return;
  }
  let content;
  let target;
  if (stats.isFile() && isNew) {
    content = report.attempt("read", () => readWhole(volume, path, stats.size));
  } else if (stats.isSymbolicLink()) {
    target = report.attempt("readlink", () => volume.readlinkSync(path));
    // Most lead nowhere, damaged or not: counted apart.
    const following = new Report();
    following.attempt("follow", () => volume.statSync(path));
    report.problems.push(...following.problems);
  }
  visit(path, stats, { content, target });
}

/** What reading may answer. With checksums no damage goes as far as to make a name lead nowhere. */
const READING_CODES = {
  mount: new Set(["EUCLEAN", "EINVAL", "EOPNOTSUPP"]),
  withChecksums: new Set(["EUCLEAN"]),
  // An inode number, a flag or a size that could be right is believed.
  withoutChecksums: new Set(["EUCLEAN", "ENOENT", "EINVAL", "EFBIG", "EOPNOTSUPP"]),
};

/** @param {Stats} stats */
const factsOf = (stats) =>
  [stats.mode, stats.nlink, stats.uid, stats.gid, stats.rdev, stats.size, stats.blocks].join(" ");
/** @param {readonly import("holdfast").DirectoryEntry[]} entries */
const namesOf = (entries) =>
  entries
    .map(({ nameBytes, ino }) => `${Buffer.from(nameBytes).toString("latin1")}=${ino}`)
    .sort()
    .join("\n");

/**
 * Every inode of the undamaged image: what the damaged ones are measured against.
 * @param {string} image
 */
function survey(image) {
  /** @type {Survey} */
  const inodes = new Map();
  const report = new Report();
  const volume = mountSync(image, { readOnly: true, regionBytes: REGION_BYTES });
  walk(volume, report, (path, stats, { entries, content, target }) => {
    if (inodes.has(stats.ino)) return;
    const names = entries === undefined ? undefined : namesOf(entries);
    const isDirectory = stats.isDirectory();
    inodes.set(stats.ino, { path, facts: factsOf(stats), isDirectory, names, content, target });
  });
  volume.closeSync();
  if (report.problems.length > 0 || Object.keys(report.reading).length > 0) {
    throw new Error(`the undamaged image is not readable: ${JSON.stringify(report)}`);
  }
  return inodes;
}

/**
 * Compares what was read with what was there. `excused` inodes may say anything.
 * @param {Report} report @param {Survey} expected @param {(ino: number) => boolean} excused
 * @returns {Visit}
 */
function comparer(report, expected, excused) {
  return (path, stats, { entries, content, target }) => {
    const was = expected.get(stats.ino);
    if (was === undefined || excused(stats.ino)) return;
    const differences = [
      factsOf(stats) !== was.facts && `attributes ${factsOf(stats)} instead of ${was.facts}`,
      entries !== undefined && namesOf(entries) !== was.names && "names differ",
      content instanceof Uint8Array &&
        was.content instanceof Uint8Array &&
        Buffer.compare(content, was.content) !== 0 &&
        `content differs (${content.length} bytes)`,
      target !== undefined && target !== was.target && `target is ${target}, not ${was.target}`,
    ].filter((difference) => difference !== false);
    for (const difference of differences) {
      report.fail("wrong data", `${path.toString("latin1").slice(0, 60)}: ${difference}`);
    }
  };
}

/** One buffer for all images: a new one each time is most of what this process would do. */
let comparison = Buffer.alloc(0);

const PAGE_SIZE = 4096;
/** @param {Uint8Array} bytes @param {number} page */
const pageOf = (bytes, page) =>
  bytes.subarray(page * PAGE_SIZE, Math.min((page + 1) * PAGE_SIZE, bytes.length));

/**
 * Looks at a file through a window, and pins it: what they show is what reading gives. Where reading
 * fails a touch finds zeroes, and the window says so.
 * @param {Volume} volume @param {Report} report @param {Buffer} path
 */
function inspectWindow(volume, report, path) {
  const stats = volume.lstatSync(path);
  const { size } = stats;
  if (!stats.isFile()) return;
  const file = volume.openSync(path);
  try {
    const content =
      size > WHOLE_BYTES_MAX ? null : report.attempt("read", () => file.readFileSync());
    if (size === 0) return;
    const window = report.attempt("map", () => file.map());
    if (window === undefined) return;
    const { bytes } = window;
    const step = Math.max(1, Math.floor(bytes.length / PAGE_SIZE / 50));
    let differing = 0;
    for (let page = 0; page * PAGE_SIZE < bytes.length; page += step) {
      const shown = Uint8Array.from(pageOf(bytes, page));
      const read = content instanceof Uint8Array ? pageOf(content, page) : shown;
      if (Buffer.compare(shown, read) !== 0) differing++;
    }
    const lost = window.lost?.pages ?? 0;
    if (differing > lost) report.fail("window", `${differing} pages differ, ${lost} were lost`);
    if (content === undefined && lost === 0 && step === 1) {
      report.fail("window", "reading fails, but every page was shown");
    }
    window.close();
    // A hole cannot be pinned where nothing can be written: counted with the changes.
    report.codes = report.changing;
    const pin = report.attempt("pin", () => file.pinSync(0, Math.min(size, 50_000)));
    report.codes = report.reading;
    pin?.release();
  } finally {
    file.closeSync();
  }
}

/** @param {Report} report @param {string} stage @param {string} path @param {Buffer} bytes */
function assertUnchanged(report, stage, path, bytes) {
  if (comparison.length !== bytes.length) comparison = Buffer.alloc(bytes.length);
  const file = openSync(path, "r");
  readSync(file, comparison, 0, comparison.length, 0);
  closeSync(file);
  if (Buffer.compare(comparison, bytes) !== 0) report.fail(stage, "the image was changed");
}

/**
 * The changes: each stands alone, and each may fail.
 * @param {Volume} volume @param {Survey} expected @param {number | null} owner
 * @param {boolean} hasWindow
 * @returns {(() => void)[]}
 */
function changesOf(volume, expected, owner, hasWindow) {
  const bytes = new Uint8Array(5000).fill(0x5a);
  /**
   * @param {string} path @param {import("holdfast").FallocateMode} mode
   * @param {number} offset @param {number} length
   */
  const fallocate = (path, mode, offset, length) => {
    const file = volume.openSync(path, "r+");
    try {
      file.fallocateSync(mode, offset, length);
    } finally {
      file.closeSync();
    }
  };
  /** @type {Write} */
  const write = (path, position, data = bytes) => {
    const file = volume.openSync(path, "r+");
    try {
      file.writeSync(data, position);
    } finally {
      file.closeSync();
    }
  };
  const someNames = volume.existsSync("/large") ? volume.readdirSync("/large").slice(0, 4) : [];
  const owned = owner === null ? undefined : expected.get(owner);
  const changes = [
    () => volume.mkdirSync("/made"),
    () => volume.writeFileSync("/made/file", bytes),
    () => volume.symlinkSync("y".repeat(500), "/made/link"),
    ...["one", "two", "three"].map((name) => () => {
      volume.writeFileSync(`/large/${name.repeat(50)}`, name);
    }),
    ...someNames.map((name) => () => volume.unlinkSync(`/large/${name}`)),
    () => write("/fragmented", 20_000),
    () => fallocate("/fragmented", "punch-hole", 100_000, 50_000),
    () => volume.truncateSync("/fragmented", 600_000),
    () => fallocate("/sparse", "collapse-range", 4096, 4096),
    () => fallocate("/sparse", "insert-range", 8192, 8192),
    () => fallocate("/sparse", "zero-range", 500_000, 10_000),
    () => fallocate("/sparse", "allocate", 2_000_000, 20_000),
    () => write("/small/file-2", 14_000),
    () => volume.unlinkSync("/small/file-3"),
    () => volume.unlinkSync("/longer-link"),
    () => volume.renameSync("/deep/er", "/small/er"),
    () => volume.renameSync("/small/file-1", "/large/moved"),
    () => volume.linkSync("/hub", "/made/hub"),
    () => volume.chmodSync("/small/file-4", 0o600),
  ];
  if (owned === undefined || owned.path.length <= 1) return changes;
  return changes.concat(changesOfOwner(volume, owned, write, hasWindow));
}

/** @typedef {(path: string | Buffer, position: number, data?: Uint8Array) => void} Write */

/**
 * The damaged inode itself is changed in every way, and removed in the end.
 * @param {Volume} volume @param {Known} owned @param {Write} write @param {boolean} hasWindow
 */
function changesOfOwner(volume, { path, isDirectory, content }, write, hasWindow) {
  const inside = join(path, Buffer.from("inside"));
  /** @param {Buffer} path */
  const touch = (path) => {
    const file = volume.openSync(path, "r+");
    try {
      const pin = file.pinSync(20_000, 10_000, { write: true });
      pin.release();
      const window = file.map({ length: 100_000 });
      for (let at = 0; at < 100_000; at += PAGE_SIZE) window.bytes[at] = 1;
      window.close();
    } finally {
      file.closeSync();
    }
  };
  if (isDirectory) {
    return [
      () => volume.chmodSync(path, 0o700),
      () => volume.writeFileSync(inside, "inside"),
      () => volume.unlinkSync(inside),
      ...volume.readdirSync(path).map((name) => () => {
        const child = join(path, Buffer.from(name));
        if (!volume.lstatSync(child).isDirectory()) volume.unlinkSync(child);
      }),
      () => volume.renameSync(path, "/made/owned"),
      () => volume.rmdirSync("/made/owned"),
    ];
  }
  const ofFiles = [
    () => write(path, 0, new Uint8Array(100)),
    () => write(path, 30_000, new Uint8Array(100)),
    ...(hasWindow ? [() => touch(path)] : []),
    () => volume.truncateSync(path, 10),
    () => volume.truncateSync(path, 0),
    () => volume.chmodSync(path, 0o700),
  ];
  const isFile = content instanceof Uint8Array;
  return [...(isFile ? ofFiles : []), () => volume.unlinkSync(path)];
}

const CHANGED_PATHS = [
  "/",
  "/hub",
  "/large",
  "/fragmented",
  "/sparse",
  "/small",
  "/small/file-1",
  "/small/file-2",
  "/small/file-3",
  "/small/file-4",
  "/longer-link",
  "/deep",
  "/deep/er",
  "/made",
];

/**
 * @param {Report} report @param {string} image @param {Buffer} bytes
 * @param {Survey} expected @param {(ino: number) => boolean} excused @param {Known | undefined} owned
 */
function inspectReading(report, image, bytes, expected, excused, owned) {
  /** @type {Volume | undefined} */
  let volume;
  try {
    volume = mountSync(image, { readOnly: true, regionBytes: REGION_BYTES });
  } catch (error) {
    report.note("mount", error);
    report.refused = true;
  }
  if (volume !== undefined) {
    const mounted = volume;
    report.attempt("statfs", () => mounted.statfsSync());
    walk(mounted, report, comparer(report, expected, excused));
    if (owned !== undefined) {
      report.attempt("window", () => inspectWindow(mounted, report, owned.path));
    }
    report.attempt("close", () => mounted.closeSync());
    if (!mounted.closed) report.fail("close", "a read-only volume could not be closed");
  }
  assertUnchanged(report, "read-only mount", image, bytes);
}

/**
 * Answers whether anything was changed.
 * @param {Report} report @param {string} image @param {Buffer} bytes
 * @param {Survey} expected @param {number | null} owner @param {boolean} hasWindow
 */
function inspectWriting(report, image, bytes, expected, owner, hasWindow) {
  report.codes = report.changing;
  const volume = report.attempt("mount for writing", () =>
    mountSync(image, { regionBytes: REGION_BYTES }),
  );
  if (volume === undefined) {
    assertUnchanged(report, "refused mount", image, bytes);
    return false;
  }
  if (volume.readOnly) {
    report.attempt("change", () => volume.writeFileSync("/new", "x"));
    volume.closeSync();
    assertUnchanged(report, "mount that turned read-only", image, bytes);
    return false;
  }
  const changes =
    report.attempt("change", () => changesOf(volume, expected, owner, hasWindow)) ?? [];
  for (const change of changes) report.attempt(`change ${change}`, change);
  report.attempt("close after changes", () => volume.closeSync());
  if (!volume.closed) report.fail("close", "the volume could not be closed");
  return true;
}

/**
 * One damaged image: `base`, the undamaged one, is patched for as long as this runs.
 * @param {Job & { base: Buffer }} job @param {Survey} expected @param {Damaged} damaged
 * @returns {InspectionReport}
 */
function inspect({ base, image, shape }, expected, damaged) {
  const undone = damaged.patches.map(({ byte, bytes }) => ({
    byte,
    bytes: Uint8Array.from(base.subarray(byte, byte + bytes.length)),
  }));
  const report = new Report();
  try {
    for (const { byte, bytes } of damaged.patches) base.set(bytes, byte);
    writeFileSync(image, base, { flag: "r+" });
    inspectImage(report, { image, bytes: base, shape }, expected, damaged);
  } finally {
    for (const { byte, bytes } of undone.reverse()) base.set(bytes, byte);
  }
  const { reading, changing, problems, refused } = report;
  return { number: damaged.number, reading, changing, problems, refused };
}

/**
 * @param {Report} report @param {{ image: string, bytes: Buffer, shape: Job["shape"] }} about
 * @param {Survey} expected @param {Damaged} damaged
 */
function inspectImage(report, { image, bytes, shape }, expected, damaged) {
  // With checksums nothing wrong is ever believed, but for a symlink's target, which has none.
  const mayDiffer = shape.checksums ? damaged.kind === "symlink block" : true;
  /** @param {number} ino */
  const excused = (ino) => mayDiffer && (damaged.owner === null || damaged.owner === ino);
  const owned = damaged.owner === null ? undefined : expected.get(damaged.owner);
  // Starting the thread that serves windows takes as long as all the rest: every other image.
  const hasWindow = shape.blockSize === PAGE_SIZE && damaged.number % 2 === 0;
  const isFile = owned?.content instanceof Uint8Array;
  inspectReading(report, image, bytes, expected, excused, hasWindow && isFile ? owned : undefined);
  const { mount, withChecksums, withoutChecksums } = READING_CODES;
  const allowed = shape.checksums ? withChecksums : withoutChecksums;
  for (const code of Object.keys(report.reading)) {
    if (!(report.refused ? mount : allowed).has(code)) report.fail("reading", `answered ${code}`);
  }
  const wrote = inspectWriting(report, image, bytes, expected, damaged.owner, hasWindow);
  if (wrote && shape.checksums) inspectOthers(report, image, expected, damaged.owner);
}

/**
 * Whatever was refused: the files that were not to change did not.
 * @param {Report} report @param {string} image @param {Survey} expected @param {number | null} owner
 */
function inspectOthers(report, image, expected, owner) {
  const changed = new Set(CHANGED_PATHS);
  /** @param {number} ino */
  const pathOf = (ino) => expected.get(ino)?.path.toString("latin1") ?? "";
  const owned = owner === null ? "" : pathOf(owner);
  const parent = owned.replace(/\/[^/]*$/, "");
  /** @param {number} ino */
  const isChanged = (ino) => {
    const path = pathOf(ino);
    return changed.has(path) || path === parent || (owned !== "" && path.startsWith(owned));
  };
  const volume = report.attempt("mount again", () =>
    mountSync(image, { readOnly: true, regionBytes: REGION_BYTES }),
  );
  if (volume === undefined) return;
  const later = new Report();
  walk(volume, later, comparer(later, expected, isChanged));
  volume.closeSync();
  for (const problem of later.problems) report.fail("after changes", problem);
}

process.once("message", (/** @type {Job & { damaged: Damaged[] }} */ job) => {
  const context = { ...job, base: readFileSync(job.baseImage) };
  writeFileSync(job.image, context.base);
  const expected = survey(job.baseImage);
  process.send?.({ ready: true });
  const next = () => {
    const damaged = job.damaged.shift();
    // The report leaves before the next image begins: a hang has its number on it.
    if (damaged === undefined) process.disconnect();
    else process.send?.(inspect(context, expected, damaged), next);
  };
  next();
});
