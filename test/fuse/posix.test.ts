// What POSIX and Linux ask of a filesystem, case by case: each answers on a volume mounted by Holdfast as it does on
// the kernel's own ext4.

import * as fs from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import {
  allocateFile,
  linkOpenFile,
  listAttributes,
  OpenDirectory,
  renameWith,
  seekFile,
  setAttribute,
} from "../interop/libc.ts";
import {
  hasTool,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { Mounted, needs, pause } from "./mounted.ts";

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW } =
  fs.constants;
/** Source: asm-generic/fcntl.h. */
const O_TMPFILE = 0o20000000 | O_DIRECTORY;

/** A case works in a directory of its own, and answers what is to be the same. */
type Case = (at: (name?: string) => string) => unknown;

function codeOf(action: () => unknown): string {
  try {
    action();
    return "done";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

const put = (path: string, content = "x"): void => fs.writeFileSync(path, content);
const links = (path: string): number => fs.lstatSync(path).nlink;
const mode = (path: string): string => fs.lstatSync(path).mode.toString(8);

/** Which times of files an action changes. */
function changes(paths: Record<string, string>, action: () => void): string[] {
  const times = () =>
    Object.entries(paths).flatMap(([name, path]) => {
      const { mtimeNs, ctimeNs } = fs.lstatSync(path, { bigint: true });
      return [
        [`mtime of ${name}`, mtimeNs],
        [`ctime of ${name}`, ctimeNs],
      ] as const;
    });
  const before = new Map(times());
  pause();
  action();
  return times()
    .filter(([what, time]) => before.get(what) !== time)
    .map(([what]) => what);
}

/** Runs a shell command as another user: its exit code, and what it printed. */
function asUser(uid: number, script: string, directory: string): unknown {
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const { code, stdout } = run("setpriv", [...ids, "sh", "-c", `cd '${directory}' && ${script}`]);
  return { code, stdout };
}

const long = "n".repeat(256);

const CASES: Record<string, Case> = {
  "names of 255 bytes are taken, of 256 not": (at) => [
    codeOf(() => put(at(long.slice(1)))),
    codeOf(() => put(at(long))),
    codeOf(() => fs.mkdirSync(at(long))),
    codeOf(() => fs.statSync(at(long))),
    codeOf(() => fs.renameSync(at(long.slice(1)), at(long))),
    codeOf(() => fs.symlinkSync("x", at(long))),
  ],
  "a file is no directory on the way": (at) => {
    put(at("f"));
    return [
      codeOf(() => fs.statSync(at("f/x"))),
      codeOf(() => put(at("f/x"))),
      codeOf(() => fs.rmdirSync(at("f"))),
      codeOf(() => fs.readdirSync(at("f"))),
      codeOf(() => fs.openSync(at("f"), O_DIRECTORY)),
      codeOf(() => fs.openSync(at("f/"), O_RDONLY)),
    ];
  },
  "a file that is emptied as it is opened": (at) => {
    put(at("f"), "content");
    put(at("kept"), "content");
    put(at("tool"), "content");
    fs.chmodSync(at(), 0o777);
    fs.chmodSync(at("tool"), 0o6777);
    fs.mkdirSync(at("d"));
    const empty = (name: string, flags: number): void =>
      fs.closeSync(fs.openSync(at(name), flags | O_TRUNC));
    const reader = fs.openSync(at("f"), O_RDONLY);
    return [
      changes({ f: at("f") }, () => empty("f", O_WRONLY)),
      fs.readSync(reader, Buffer.alloc(10)),
      fs.closeSync(reader),
      changes({ f: at("f") }, () => empty("f", O_RDWR | O_APPEND)),
      fs.statSync(at("f")).size,
      asUser(1234, "true 2>&- > kept", at()),
      asUser(1234, "true 2>&- > tool", at()),
      ...["kept", "tool"].map((name) => [fs.statSync(at(name)).size, mode(at(name))]),
      codeOf(() => empty("d", O_WRONLY)),
      codeOf(() => empty("d", O_WRONLY | O_CREAT)),
      codeOf(() => empty("none", O_WRONLY)),
    ];
  },
  "symlinks that lead nowhere, in circles, and are not followed": (at) => {
    fs.symlinkSync("a", at("b"));
    fs.symlinkSync("b", at("a"));
    fs.symlinkSync("none", at("dangling"));
    fs.symlinkSync("t".repeat(4000), at("far"));
    return [
      codeOf(() => fs.statSync(at("a"))),
      codeOf(() => fs.readFileSync(at("dangling"))),
      codeOf(() => fs.openSync(at("a"), O_RDONLY | O_NOFOLLOW)),
      fs.readlinkSync(at("far")).length,
      fs.lstatSync(at("far")).size,
      codeOf(() => fs.symlinkSync("t".repeat(4096), at("too far"))),
      codeOf(() => put(at("dangling"))),
      fs.readdirSync(at()).toSorted(),
    ];
  },
  "what rename refuses, and replaces": (at) => {
    fs.mkdirSync(at("d/sub"), { recursive: true });
    fs.mkdirSync(at("e"));
    put(at("f"));
    put(at("g"), "gg");
    fs.linkSync(at("f"), at("f2"));
    return [
      codeOf(() => fs.renameSync(at("d"), at("d/sub/x"))),
      codeOf(() => fs.renameSync(at("e"), at("d"))),
      codeOf(() => fs.renameSync(at("f"), at("e"))),
      codeOf(() => fs.renameSync(at("e"), at("f"))),
      codeOf(() => fs.renameSync(at("f"), at("f2"))),
      codeOf(() => fs.renameSync(at("none"), at("f"))),
      codeOf(() => fs.renameSync(at("d"), at("e"))),
      codeOf(() => fs.renameSync(at("g"), at("f"))),
      fs.readFileSync(at("f"), "utf8"),
      links(at("f2")),
      links(at("e")),
      fs.readdirSync(at()).toSorted(),
    ];
  },
  "renaming without replacing, and by exchange": (at) => {
    fs.mkdirSync(at("one/sub"), { recursive: true });
    fs.mkdirSync(at("two"));
    put(at("one/f"), "f of one");
    put(at("two/g"), "g of two");
    return [
      codeOf(() => renameWith(at("one/f"), at("two/g"), "noreplace")),
      codeOf(() => renameWith(at("one/f"), at("two/h"), "noreplace")),
      codeOf(() => renameWith(at("two/h"), at("one/none"), "exchange")),
      codeOf(() => renameWith(at("two/h"), at("two/g"), "exchange")),
      fs.readFileSync(at("two/h"), "utf8"),
      codeOf(() => renameWith(at("one/sub"), at("two/g"), "exchange")),
      fs.lstatSync(at("two/g")).isDirectory(),
      fs.readFileSync(at("one/sub"), "utf8"),
      [links(at("one")), links(at("two"))],
      codeOf(() => renameWith(at("one"), at("two"), "exchange")),
      codeOf(() => renameWith(at("one"), at("one/g"), "exchange")),
      codeOf(() => renameWith(at("one/g"), at("one"), "exchange")),
      codeOf(() => renameWith(at("one"), at("three"), "unknown")),
      fs.realpathSync(at("one/g/..")) === at("one"),
      changes({ one: at("one"), two: at("two") }, () =>
        renameWith(at("one/g"), at("two/sub"), "exchange"),
      ),
    ];
  },
  "links are counted": (at) => {
    put(at("f"));
    fs.linkSync(at("f"), at("g"));
    const counts = [links(at("f"))];
    fs.mkdirSync(at("d"));
    for (const name of ["a", "b"]) fs.mkdirSync(at(`d/${name}`));
    counts.push(links(at("d")), links(at()));
    fs.renameSync(at("d/a"), at("a"));
    counts.push(links(at("d")), links(at()));
    fs.unlinkSync(at("f"));
    counts.push(links(at("g")));
    fs.symlinkSync("g", at("s"));
    fs.linkSync(at("s"), at("s2"));
    counts.push(links(at("s")));
    return [counts, codeOf(() => fs.linkSync(at("d"), at("d2")))];
  },
  "a file without a name lives while it is open": (at) => {
    put(at("f"), "content");
    const fd = fs.openSync(at("f"), O_RDWR);
    fs.unlinkSync(at("f"));
    put(at("f"), "another");
    fs.writeSync(fd, "!", 7);
    const target = Buffer.alloc(20);
    const seen = [
      fs.fstatSync(fd).nlink,
      fs.readSync(fd, target, 0, 20, 0),
      target.toString("latin1"),
    ];
    fs.ftruncateSync(fd, 3);
    fs.fchmodSync(fd, 0o600);
    seen.push(
      fs.fstatSync(fd).size,
      fs.fstatSync(fd).mode,
      codeOf(() => linkOpenFile(fd, at("g"))),
    );
    fs.closeSync(fd);
    return [seen, fs.readdirSync(at()), fs.readFileSync(at("f"), "utf8")];
  },
  "a directory without a name, and one that was renamed, stay what they are": (at) => {
    fs.mkdirSync(at("d"));
    const fd = fs.openSync(at("d"), O_RDONLY | O_DIRECTORY);
    const inside = `/proc/self/fd/${fd}`;
    fs.renameSync(at("d"), at("e"));
    put(`${inside}/x`);
    const seen = [fs.readdirSync(at("e"))];
    fs.unlinkSync(at("e/x"));
    fs.rmdirSync(at("e"));
    seen.push([codeOf(() => put(`${inside}/y`)), `${fs.fstatSync(fd).nlink}`]);
    seen.push(fs.readdirSync(inside));
    fs.closeSync(fd);
    return seen;
  },
  "files made without a name are given one, or go": (at) => {
    fs.mkdirSync(at("d"));
    let seen: unknown[] = [];
    const changed = changes({ d: at("d") }, () => {
      const fd = fs.openSync(at("d"), O_TMPFILE | O_RDWR, 0o640);
      fs.writeSync(fd, "text");
      seen = [fs.fstatSync(fd).nlink, mode(`/proc/self/fd/${fd}`).length, fs.readdirSync(at("d"))];
      linkOpenFile(fd, at("named"));
      seen.push(fs.fstatSync(fd).nlink, fs.readFileSync(at("named"), "utf8"), mode(at("named")));
      fs.closeSync(fd);
    });
    fs.closeSync(fs.openSync(at(), O_TMPFILE | O_WRONLY, 0o600));
    return [seen, changed, fs.readdirSync(at()).toSorted()];
  },
  "what changes which times": (at) => {
    put(at("f"));
    fs.mkdirSync(at("d"));
    const f = { f: at("f"), parent: at() };
    const fd = fs.openSync(at("f"), O_RDWR);
    const seen = [
      changes(f, () => fs.chmodSync(at("f"), 0o640)),
      changes(f, () => fs.chownSync(at("f"), 3, 3)),
      changes(f, () => fs.linkSync(at("f"), at("g"))),
      changes(f, () => fs.unlinkSync(at("g"))),
      changes({ parent: at() }, () => fs.renameSync(at("f"), at("h"))),
    ].concat(
      [
        () => fs.writeSync(fd, "more", 0),
        () => fs.ftruncateSync(fd, 10),
        () => fs.ftruncateSync(fd, 10),
        () => allocateFile(fd, "allocate", 0, 9000),
        () => allocateFile(fd, "punch-hole", 0, 4096),
        () => setAttribute(at("h"), "user.a", Buffer.from("1")),
        () => void fs.readFileSync(at("h")),
      ].map((action) => changes({ h: at("h"), parent: at() }, action)),
      [
        () => fs.mkdirSync(at("d/e")),
        () => fs.rmdirSync(at("d/e")),
        () => fs.symlinkSync("x", at("d/s")),
        () => void codeOf(() => fs.mkdirSync(at("d/s"))),
        () => fs.renameSync(at("d"), at("i")),
        () => fs.renameSync(at("i"), at("d")),
      ].map((action) => changes({ parent: at() }, action)),
    );
    fs.closeSync(fd);
    return seen;
  },
  "holes and data are found": (at) => {
    const fd = fs.openSync(at("f"), O_RDWR | O_CREAT);
    fs.writeSync(fd, "d", 2 ** 20);
    fs.ftruncateSync(fd, 3 * 2 ** 20);
    const seek = (offset: number, kind: "data" | "hole") => {
      let found: number | null = null;
      const code = codeOf(() => (found = seekFile(fd, offset, kind)));
      return found ?? code;
    };
    const seen: unknown[] = [
      seek(0, "data"),
      seek(0, "hole"),
      seek(2 ** 20, "hole"),
      seek(2 ** 20 + 10_000, "data"),
      seek(2 ** 21, "hole"),
      seek(3 * 2 ** 20, "hole"),
      seek(4 * 2 ** 20, "data"),
    ];
    allocateFile(fd, "punch-hole", 2 ** 20, 4096);
    seen.push(seek(0, "data"), seek(0, "hole"), fs.fstatSync(fd).blocks);
    fs.closeSync(fd);
    return seen;
  },
  "fallocate keeps or sets the size": (at) => {
    const fd = fs.openSync(at("f"), O_RDWR | O_CREAT);
    const seen: unknown[] = [];
    for (const [kind, offset, length] of [
      ["keep-size", 0, 8192],
      ["allocate", 0, 5000],
      ["zero-range", 4096, 8192],
      ["punch-hole", 0, 4096],
    ] as const) {
      seen.push(codeOf(() => allocateFile(fd, kind, offset, length)));
      const { size, blocks } = fs.fstatSync(fd);
      seen.push([size, blocks]);
    }
    fs.closeSync(fd);
    return seen;
  },
  "seekdir finds its place again, whatever comes and goes": (at) => {
    const names = Array.from({ length: 600 }, (_, index) => `name ${index}`);
    for (const name of names) put(at(name), "");
    using directory = new OpenDirectory(at());
    const places: [number, string][] = [];
    for (let name = directory.next(); name !== null; name = directory.next()) {
      places.push([directory.position, name]);
    }
    const all = places.map(([, name]) => name).toSorted();
    const kept = new Set(places.filter((_, index) => index % 3 === 0).map(([, name]) => name));
    for (const [, name] of places)
      if (name.startsWith("name") && !kept.has(name)) fs.unlinkSync(at(name));
    for (let index = 0; index < 300; index++) put(at(`new ${index}`), "");
    const wrong: string[] = [];
    for (const [index, [position]] of places.entries()) {
      if (index % 37 !== 0) continue;
      directory.position = position;
      const found: string[] = [];
      for (let name = directory.next(); name !== null; name = directory.next()) found.push(name);
      const expected = places
        .slice(index + 1)
        .map(([, name]) => name)
        .filter((name) => kept.has(name));
      const seen = found.filter((name) => kept.has(name));
      if (JSON.stringify(seen) !== JSON.stringify(expected))
        wrong.push(`after ${places[index]![1]}`);
    }
    return [all, wrong];
  },
  "all types are made by mknod": (at) => {
    for (const [name, ...args] of [
      ["fifo", "p"],
      ["char", "c", "1", "3"],
      ["block", "b", "259", "70000"],
    ] as const) {
      run("mknod", [at(name), ...args]);
    }
    return ["fifo", "char", "block"].map((name) => {
      const stats = fs.lstatSync(at(name));
      return [stats.mode, stats.rdev, stats.size];
    });
  },
};

/** Copies a byte by copy_file_range(2), in perl. Source: asm/unistd.h. */
const COPY_FILE_RANGE = process.arch === "x64" ? 326 : 285;
const COPY = `open S, "<s"; open F, "+<f"; exit(syscall(${COPY_FILE_RANGE}, fileno S, 0, fileno F, 0, 1, 0) != 1)`;

/** chown(2) that changes neither, in perl. */
const KEEP_OWNER = `exit(chown(-1, -1, "f") != 1)`;

const AS_OTHERS: Record<string, Case> = {
  "permissions are those of the mode": (at) => {
    fs.chmodSync(at(), 0o755);
    put(at("closed"));
    fs.chmodSync(at("closed"), 0o600);
    put(at("open"));
    fs.chmodSync(at("open"), 0o666);
    put(at("grouped"));
    fs.chownSync(at("grouped"), 0, 1000);
    fs.chmodSync(at("grouped"), 0o660);
    return [
      asUser(1000, "cat closed", at()),
      asUser(1000, "cat open && echo more > open && cat open", at()),
      asUser(1000, "cat grouped", at()),
      asUser(1001, "cat grouped", at()),
      asUser(1000, "touch new", at()),
      asUser(1000, "chmod 777 open", at()),
      asUser(1000, "chown 1000 open", at()),
      asUser(1000, "rm -f open", at()),
    ];
  },
  "new files belong to who makes them, or to their directory's group; the umask cuts them": (
    at,
  ) => {
    fs.chmodSync(at(), 0o777);
    fs.mkdirSync(at("shared"));
    fs.chownSync(at("shared"), 0, 77);
    fs.chmodSync(at("shared"), 0o2777);
    const script =
      "umask 027; touch a shared/b; mkdir c shared/d; ln -s x shared/s; mkfifo shared/p";
    const done = asUser(1000, script, at());
    const seen = ["a", "shared/b", "c", "shared/d", "shared/s", "shared/p"].map((name) => {
      const { uid, gid } = fs.lstatSync(at(name));
      return [name, uid, gid, mode(at(name))];
    });
    return [done, seen];
  },
  "in a sticky directory one removes what is one's own": (at) => {
    fs.chmodSync(at(), 0o1777);
    put(at("roots"));
    asUser(1000, "touch mine", at());
    return [
      asUser(1000, "rm -f roots", at()),
      asUser(1001, "rm -f mine", at()),
      asUser(1001, "mv mine other", at()),
      asUser(1000, "rm mine", at()),
    ];
  },
  "set-id bits go when others write, and with the owner": (at) => {
    fs.chmodSync(at(), 0o777);
    const seen: unknown[] = [];
    put(at("s"));
    for (const bits of [0o6777, 0o2666, 0o4766]) {
      put(at("f"));
      fs.chmodSync(at("f"), bits);
      fs.appendFileSync(at("f"), "by root");
      seen.push(mode(at("f")));
      asUser(1000, "echo x >> f", at());
      seen.push(mode(at("f")));
      fs.chmodSync(at("f"), bits);
      asUser(1000, ": > f", at());
      seen.push(mode(at("f")));
      for (const [uid, command] of [
        [1000, `perl -e '${KEEP_OWNER}'`],
        [0, `perl -e '${COPY}'`],
        [0, "chown 5:5 f"],
      ] as const) {
        fs.chownSync(at("f"), 1000, 1000);
        fs.chmodSync(at("f"), bits);
        if (uid === 0 && hasTool("setcap")) run("setcap", ["cap_net_raw+p", at("f")]);
        seen.push(asUser(uid, command, at()), mode(at("f")), listAttributes(at("f")));
      }
      fs.unlinkSync(at("f"));
    }
    return seen;
  },
  "a program that others have written to runs with no rights of its owner's": (at) => {
    fs.chmodSync(at(), 0o777);
    const id = run("sh", ["-c", "command -v id"]).stdout.trim();
    const seen: unknown[] = [];
    for (const change of [`cat ${id} 1<>tool`, "fallocate -l 999999 tool"]) {
      fs.copyFileSync(id, at("tool"));
      fs.chmodSync(at("tool"), 0o6777);
      // What the kernel has seen of it, it keeps.
      seen.push(asUser(1000, "./tool -u", at()), mode(at("tool")));
      seen.push(asUser(1000, change, at()), asUser(1000, "./tool -u; ./tool -g", at()));
      // No more of it than its mode: times are asked for anew.
      seen.push(run("stat", ["-c", "%a", at("tool")]).stdout);
    }
    return seen;
  },
  "set-id bits go when others allocate, punch, zero and copy": (at) => {
    fs.chmodSync(at(), 0o777);
    put(at("s"));
    const seen: unknown[] = [];
    for (const change of [
      "fallocate -l 8192 f",
      "fallocate -n -l 65536 f",
      "fallocate -p -o 0 -l 4096 f",
      "fallocate -z -o 0 -l 4096 f",
      "fallocate -z -n -o 0 -l 4096 f",
      `perl -e '${COPY}'`,
    ]) {
      for (const [bits, uid] of [
        [0o6777, 1000],
        [0o2666, 1000],
        [0o4766, 1000],
        [0o6777, 0],
      ] as const) {
        put(at("f"), "x".repeat(5000));
        fs.chmodSync(at("f"), bits);
        seen.push([change, asUser(uid, change, at()), mode(at("f"))]);
        fs.unlinkSync(at("f"));
      }
    }
    return seen;
  },
  "chmod by who is not in the group drops set-group-id": (at) => {
    fs.chmodSync(at(), 0o777);
    put(at("f"));
    fs.chownSync(at("f"), 1000, 77);
    return [asUser(1000, "chmod 2755 f", at()), mode(at("f"))];
  },
};

const ACL_CASES: Record<string, Case> = {
  "access control lists let in and keep out": (at) => {
    fs.chmodSync(at(), 0o755);
    put(at("f"));
    fs.chmodSync(at("f"), 0o600);
    run("setfacl", ["-m", "u:1000:r", at("f")]);
    const seen = [
      mode(at("f")),
      asUser(1000, "cat f", at()),
      asUser(1000, "echo x > f", at()),
      asUser(1001, "cat f", at()),
      run("getfacl", ["-n", "--omit-header", at("f")]).stdout,
    ];
    fs.chmodSync(at("f"), 0o600);
    seen.push(asUser(1000, "cat f", at()));
    run("setfacl", ["-b", at("f")]);
    seen.push(run("getfacl", ["-n", "--omit-header", at("f")]).stdout, listAttributes(at("f")));
    return seen;
  },
  "default lists are inherited, in place of the umask": (at) => {
    fs.mkdirSync(at("d"));
    run("setfacl", ["-d", "-m", "u:1000:rwx,g::rx,o::-", at("d")]);
    run("sh", ["-c", 'umask 077; cd "$0"; touch f; mkdir e; echo x > e/g', at("d")]);
    return ["d", "d/f", "d/e", "d/e/g"].map((name) => [
      mode(at(name)),
      run("getfacl", ["-n", "--omit-header", at(name)]).stdout,
    ]);
  },
};

function everyCase(): Record<string, Case> {
  return {
    ...CASES,
    ...(hasTool("setpriv") ? AS_OTHERS : {}),
    ...(hasTool("setpriv") && hasTool("setfacl") ? ACL_CASES : {}),
  };
}

function answers(root: string): Record<string, unknown> {
  fs.chmodSync(root, 0o755);
  return Object.fromEntries(
    Object.entries(everyCase()).map(([verdict, act], index) => {
      const place = join(root, `case ${index}`);
      fs.mkdirSync(place);
      return [verdict, act((name) => (name === undefined ? place : join(place, name)))];
    }),
  );
}

const SIZE = 64 * 2 ** 20;

skipUnless(...needs, "loop mounts").each([[[]], [["-o", "writeback"]], [["-o", "dax=never"]]])(
  "a volume mounted with %j does what the kernel's ext4 does",
  { timeout: 120_000 },
  (options) => {
    using scratch = temporaryDirectory();
    using place = temporaryDirectory();
    mkfsExt4(scratch.file("image"), SIZE, ["-b", "4096"]);
    using kernel = loopMount(scratch.file("image"), place.path, ["noatime"]);
    const expected = answers(kernel.directory);
    using mounted = new Mounted(SIZE, ["-b", "4096"]);
    const actual = mounted.with(answers, ...options, "-o", "suid,dev");
    for (const [verdict, answer] of Object.entries(expected)) {
      // The kernel says that a file has none while it collects what is written.
      if (verdict.startsWith("holes") && options.includes("writeback" as never)) continue;
      expect.soft({ [verdict]: actual[verdict] }).toEqual({ [verdict]: answer });
    }
  },
);

/** What may be done with files that are only to be added to, or not to be changed at all (chattr). */
function answersOfRestricted(root: string): unknown {
  const at = (name: string): string => join(root, name);
  const append = (name: string) => (): void => {
    const fd = fs.openSync(at(name), O_WRONLY | O_APPEND);
    try {
      fs.writeSync(fd, "more");
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  };
  return ["log", "tool", "fixed"].map((name) => [
    name,
    codeOf(append(name)),
    asUser(1000, `echo by another >> ${name}`, root),
    changes({ [name]: at(name) }, () => run("touch", [at(name)])),
    codeOf(() => fs.utimesSync(at(name), 5, 5)),
    codeOf(() => fs.chownSync(at(name), 5, 5)),
    codeOf(() => fs.chmodSync(at(name), 0o644)),
    codeOf(() => fs.truncateSync(at(name), 2)),
    codeOf(() => fs.renameSync(at(name), at("else"))),
    mode(at(name)),
    fs.readFileSync(at(name), "utf8"),
  ]);
}

skipUnless(...needs, "loop mounts", "setpriv", "chattr").each([[[]], [["-o", "writeback"]]])(
  "append-only and immutable files, mounted with %j, take what the kernel's ext4 lets them take",
  { timeout: 60_000 },
  (options) => {
    using mounted = new Mounted(SIZE);
    using place = temporaryDirectory();
    {
      using kernel = loopMount(mounted.image, place.path);
      const at = (name: string): string => join(kernel.directory, name);
      fs.chmodSync(at("."), 0o777);
      for (const [name, bits, flag] of [
        ["log", 0o666, "+a"],
        ["tool", 0o6777, "+a"],
        ["fixed", 0o666, "+i"],
      ] as const) {
        put(at(name));
        fs.chmodSync(at(name), bits);
        runOk("chattr", [flag, at(name)]);
      }
    }
    using scratch = temporaryDirectory();
    fs.copyFileSync(mounted.image, scratch.file("image"));
    using kernel = loopMount(scratch.file("image"), place.path);
    const actual = mounted.with(answersOfRestricted, ...options, "-o", "suid");
    expect(actual).toEqual(answersOfRestricted(kernel.directory));
  },
);

/** What chattr changes, and lsattr tells; of what is not there, and not kept to. */
function answersOfFlags(root: string): unknown {
  const at = (name: string): string => join(root, name);
  put(at("file"));
  fs.mkdirSync(at("directory"));
  const all = ["file", "directory"].map(at);
  const flagsOf = (path: string): string => run("lsattr", ["-dp", path]).stdout.slice(0, 30);
  const steps: unknown[] = [all.map(flagsOf)];
  for (const change of ["+d", "+A", "+ad", "-a", "+i", "-i", "-dA", "+sut", "-su", "+T", "+c"]) {
    for (const path of all) steps.push([change, run("chattr", [change, path]).code, flagsOf(path)]);
  }
  runOk("chattr", ["+i", at("file"), at("directory")]);
  steps.push(codeOf(() => fs.appendFileSync(at("file"), "more")));
  steps.push(codeOf(() => put(at("directory/file"))));
  steps.push(asUser(1000, "chattr -i file; chattr +d file", root));
  runOk("chattr", ["-i", at("file"), at("directory")]);
  fs.appendFileSync(at("file"), "more");
  fs.chmodSync(at("."), 0o777);
  fs.chownSync(at("file"), 1000, 1000);
  steps.push(asUser(1000, "chattr +d file; chattr +a file; lsattr -d file | cut -c 1-22", root));
  return [
    steps,
    flagsOf(at("file")),
    changes({ file: at("file") }, () => run("chattr", ["+A", at("file")])),
  ];
}

skipUnless(...needs, "loop mounts", "setpriv", "chattr").each([[["-t", "ext4"]], [["-t", "ext2"]]])(
  "chattr and lsattr say what they say on the kernel's ext4, of %j",
  { timeout: 60_000 },
  (args) => {
    using mounted = new Mounted(SIZE, args);
    using place = temporaryDirectory();
    using scratch = temporaryDirectory();
    fs.copyFileSync(mounted.image, scratch.file("image"));
    const actual = mounted.with(answersOfFlags);
    using kernel = loopMount(scratch.file("image"), place.path);
    expect(actual).toEqual(answersOfFlags(kernel.directory));
  },
);

skipUnless(...needs, "chattr")(
  "flags that are not kept to are not changed, and the kernel finds the others on the image",
  { timeout: 60_000 },
  () => {
    using mounted = new Mounted(SIZE);
    mounted.with((root) => {
      put(join(root, "file"));
      fs.mkdirSync(join(root, "directory"));
      for (const [change, name] of [
        ["+S", "file"],
        ["+j", "file"],
        ["+D", "directory"],
        ["+P", "directory"],
        ["-e", "file"],
      ] as const) {
        const { code, stderr } = run("chattr", [change, join(root, name)]);
        expect([change, code]).toEqual([change, 1]);
        expect(stderr).toContain("Operation not supported");
      }
      runOk("chattr", ["+dx", join(root, "file")]);
    });
    expect(runOk("debugfs", ["-R", "stat /file", mounted.image])).toMatch(/Flags: 0x2080040/);
  },
);
