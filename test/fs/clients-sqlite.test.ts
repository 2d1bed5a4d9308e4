// SQLite in WebAssembly with its database on a volume: node-sqlite3-wasm asks node:fs for its files, and is given a
// volume's face for that. Debian's sqlite3 reads the database on the kernel's mount afterwards.

import * as nodeFs from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as sqlite from "node-sqlite3-wasm";
import { describe, expect, test } from "vitest";
import type { VolumeFs } from "../../src/index.ts";
import { loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, copiedKinds, ext4, ram } from "../volume/volumes.ts";

type Sqlite = typeof sqlite;

/** The package, with another filesystem than the host's; only its own program comes from there. */
function loadSqlite(fs: VolumeFs): Sqlite {
  const require = createRequire(import.meta.url);
  const path = require.resolve("node-sqlite3-wasm");
  const given = {
    ...fs,
    readFileSync: (from: string, ...rest: []) =>
      (from.endsWith(".wasm") ? nodeFs : fs).readFileSync(from, ...rest),
  };
  const program = new Function(
    "module",
    "exports",
    "require",
    "__filename",
    "__dirname",
    nodeFs.readFileSync(path, "utf8"),
  );
  const module = { exports: {} };
  const requireHere = (name: string): unknown =>
    name === "node:fs" || name === "fs" ? given : require(name);
  program(module, module.exports, requireHere, path, dirname(path));
  return module.exports as Sqlite;
}

const ROWS = 240;

/** Work in many transactions; one of them is taken back. */
function fill(database: sqlite.Database): void {
  database.exec("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, filler BLOB)");
  database.exec("CREATE INDEX by_word ON words (word)");
  for (let batch = 0; batch < 8; batch++) {
    database.exec("BEGIN");
    for (let at = 0; at < ROWS / 8; at++) {
      const id = batch * (ROWS / 8) + at;
      database.run("INSERT INTO words VALUES (?, ?, ?)", [
        id,
        `word ${id}`,
        new Uint8Array(id * 3),
      ]);
    }
    database.exec("COMMIT");
  }
  database.exec("BEGIN; DELETE FROM words; ROLLBACK");
  database.exec("UPDATE words SET word = word || '!' WHERE id % 3 = 0");
  database.exec("DELETE FROM words WHERE id % 5 = 0");
}

const LEFT = ROWS - ROWS / 5;
const SUM = "SELECT count(*) AS count, sum(length(filler)) AS bytes FROM words";

const kinds = [ram, ext4, ...blockPointerKinds.slice(0, 1), ...copiedKinds.slice(1, 2)];

const modes = ["DELETE", "TRUNCATE", "PERSIST", "WAL"];

/** A database in a mode of its journal. Without shared memory, a log (WAL) is for one connection alone. */
function open({ Database }: Sqlite, path: string, mode: string): sqlite.Database {
  const database = new Database(path);
  if (mode === "WAL") database.exec("PRAGMA locking_mode = EXCLUSIVE");
  expect(database.get(`PRAGMA journal_mode = ${mode}`)).toEqual({
    journal_mode: mode.toLowerCase(),
  });
  return database;
}

/** What a process leaves that dies in a transaction: copies of the files, of which much is written already. */
function leave(fs: VolumeFs, database: sqlite.Database, path: string, mode: string, copy: string) {
  database.exec("PRAGMA cache_size = 1");
  database.exec(
    "BEGIN; UPDATE words SET filler = zeroblob(5000); DELETE FROM words WHERE id < 100",
  );
  const journal = mode === "WAL" ? "-wal" : "-journal";
  expect(fs.statSync(path + journal).size).toBeGreaterThan(4096);
  for (const end of ["", journal]) fs.copyFileSync(path + end, copy + end);
  database.exec("ROLLBACK");
}

const whole = [{ integrity_check: "ok" }];

describe.each(kinds)("$name", (kind) => {
  test.each(modes)("a database with a journal in mode %s is whole", (mode) => {
    using made = kind.make();
    const { fs } = made.volume;
    const program = loadSqlite(fs);
    fs.mkdirSync("/data");
    let database = open(program, "/data/words.db", mode);
    fill(database);
    expect(database.all("PRAGMA integrity_check")).toEqual(whole);
    const wanted = database.get(SUM);
    expect(wanted).toMatchObject({ count: LEFT });
    leave(fs, database, "/data/words.db", mode, "/data/left.db");
    database.close();
    // This port of SQLite finds no journal that another one left: its own lock stands for theirs. A log it does.
    database = open(program, mode === "WAL" ? "/data/left.db" : "/data/words.db", mode);
    expect(database.get(SUM)).toEqual(wanted);
    database.exec("VACUUM");
    expect(database.all("PRAGMA integrity_check")).toEqual(whole);
    database.close();
    expect(fs.readdirSync("/data").filter((name) => name.endsWith(".lock"))).toEqual([]);
    expect(made.closeAndCheck()).toBe("");
  });
});

skipUnless("sqlite3", "loop mounts").each(modes)(
  "Debian's sqlite3 finds a database whole on the kernel's mount, and one that was left in a transaction: %s",
  (mode) => {
    using place = temporaryDirectory();
    using made = ext4.make();
    const { fs } = made.volume;
    const database = open(loadSqlite(fs), "/words.db", mode);
    fill(database);
    const { count, bytes } = database.get(SUM) as { count: number; bytes: number };
    leave(fs, database, "/words.db", mode, "/left.db");
    database.close();
    expect(made.closeAndCheck()).toBe("");
    using mounted = loopMount(made.image!, place.path);
    for (const name of ["words.db", "left.db"]) {
      const path = `${mounted.directory}/${name}`;
      expect(runOk("sqlite3", [path, "PRAGMA integrity_check"])).toBe("ok\n");
      expect(runOk("sqlite3", [path, SUM])).toBe(`${count}|${bytes}\n`);
    }
  },
);
