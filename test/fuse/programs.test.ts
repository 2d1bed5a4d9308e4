// Ordinary programs on a mounted volume: what they do there they do as anywhere, and e2fsck finds nothing afterwards.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { root } from "../../scripts/tree.js";
import { run, runOk, skipUnless } from "../support/tools.ts";
import { Mounted, needs } from "./mounted.ts";

const SIZE = 512 * 2 ** 20;
const tree = join(root, "src");

function withMount(use: (directory: string) => void, ...options: readonly string[]): void {
  using mounted = new Mounted(SIZE);
  mounted.with(use, ...options);
}

function shell(script: string, directory: string, ...args: readonly string[]): string {
  return runOk("sh", ["-ec", `cd "$0"; ${script}`, directory, ...args]);
}

const it = (...programs: string[]) => skipUnless(...needs, ...programs);
const PATIENCE = { timeout: 300_000 };

it("cp", "diff")("cp -a copies a tree, diff -r finds it the same", PATIENCE, () => {
  withMount((directory) => {
    shell(
      'cp -a "$1" tree; diff -r "$1" tree; cp -a tree again; diff -r tree again',
      directory,
      tree,
    );
  });
});

it("tar", "diff")("tar extracts what it has packed", PATIENCE, () => {
  withMount((directory) => {
    shell(
      'tar cf tree.tar -C "$1" .; mkdir out; tar xf tree.tar -C out; diff -r "$1" out',
      directory,
      tree,
    );
    shell(
      "tar cf again.tar -C out .; mkdir out2; tar xf again.tar -C out2; diff -r out out2",
      directory,
    );
  });
});

it("rsync")("rsync copies, and finds nothing left to copy", PATIENCE, () => {
  withMount((directory) => {
    shell('rsync -aHAX --inplace "$1"/ tree/', directory, tree);
    expect(shell('rsync -aHAXi --delete "$1"/ tree/', directory, tree)).toBe("");
  });
});

it("git")("git commits a tree, clones it, and finds all objects whole", PATIENCE, () => {
  withMount((directory) => {
    const identity = "-c user.name=test -c user.email=test@example.org -c core.fsync=all";
    shell(
      `git init -q work; cp -a "$1" work/tree; cd work; git add -A; git ${identity} commit -qm one; git fsck --full;
       git mv tree moved; git ${identity} commit -qm two; git gc -q; git clone -q . ../clone; cd ../clone;
       git checkout -q HEAD~1; git fsck --full; git status --porcelain > ../status`,
      directory,
      tree,
    );
    expect(shell("cat status", directory)).toBe("");
  });
});

it("sqlite3")(
  "sqlite3 keeps its databases, whatever journal it has and mapped or not",
  PATIENCE,
  () => {
    withMount((directory) => {
      for (const journal of ["delete", "truncate", "persist", "wal"]) {
        for (const mapped of [0, 2 ** 28]) {
          const name = `${journal}-${mapped}.db`;
          const script = `
          PRAGMA journal_mode=${journal}; PRAGMA mmap_size=${mapped}; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 6000)
            INSERT INTO t SELECT i, hex(randomblob(50)) FROM n;
          DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = 'x' || b WHERE a % 2 = 0; VACUUM;`;
          runOk("sqlite3", [join(directory, name)], script);
          const asked = "PRAGMA integrity_check; SELECT count(*) FROM t;";
          expect(runOk("sqlite3", [join(directory, name)], asked)).toBe("ok\n4000\n");
        }
      }
      const left = readdirSync(directory).filter((name) => /^(delete|wal)/.test(name));
      expect(left.toSorted()).toEqual(
        ["delete", "wal"].flatMap((name) => [`${name}-0.db`, `${name}-${2 ** 28}.db`]),
      );
    });
  },
);

const MAKEFILE = `
objects = $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects) libparts.a
	cc -o $@ main.o -L. -lparts
libparts.a: $(filter-out main.o,$(objects))
	ar rcs $@ $^
clean:
	rm -f *.o *.a program
`;

it("make", "cc", "ar")(
  "a C project builds, runs, and is built anew only where it changed",
  PATIENCE,
  () => {
    withMount((directory) => {
      const project = join(directory, "project");
      mkdirSync(project);
      writeFileSync(join(project, "Makefile"), MAKEFILE);
      const parts = Array.from({ length: 12 }, (_, index) => index);
      for (const part of parts) {
        writeFileSync(
          join(project, `part${part}.c`),
          `int part${part}(void) { return ${part}; }\n`,
        );
      }
      const calls = parts.map((part) => `part${part}()`).join(" + ");
      const declared = parts.map((part) => `int part${part}(void);`).join(" ");
      writeFileSync(
        join(project, "main.c"),
        `#include <stdio.h>\n${declared}\nint main(void) { printf("%d\\n", ${calls}); return 0; }\n`,
      );
      shell("make -j2", project);
      expect(shell("./program", project)).toBe("66\n");
      expect(shell("make", project)).toMatch(/up to date/);
      shell("sleep 1.1; touch part3.c", project);
      expect(shell("make", project).match(/-c /g)).toHaveLength(1);
    });
  },
);

it("find", "du")("find and du count what there is", PATIENCE, () => {
  withMount((directory) => {
    shell('cp -a "$1" tree', directory, tree);
    const count = (where: string): string =>
      run("find", [where, "-type", "f"]).stdout.trim().split("\n").length.toString();
    expect(count(join(directory, "tree"))).toBe(count(tree));
    const bytes = (where: string): string =>
      runOk("sh", [
        "-c",
        'find "$0" -type f -printf "%s\\n" | awk "{ s += \\$1 } END { print s }"',
        where,
      ]);
    expect(bytes(join(directory, "tree"))).toBe(bytes(tree));
    expect(Number(runOk("du", ["-sk", join(directory, "tree")]).split("\t")[0])).toBeGreaterThan(
      1000,
    );
  });
});

it("fio")("fio verifies what it has written, by calls and by mappings", PATIENCE, () => {
  withMount((directory) => {
    for (const engine of ["psync", "mmap", "libaio"]) {
      const args = [
        ...[
          `--name=${engine}`,
          `--directory=${directory}`,
          `--ioengine=${engine}`,
          "--rw=randrw",
          "--bs=4k",
        ],
        ...[
          "--size=16m",
          "--verify=crc32c",
          "--do_verify=1",
          "--verify_state_save=0",
          "--fsync=100",
          "--numjobs=2",
        ],
      ];
      runOk("fio", args);
    }
  });
});

it("python3")(
  "what is written asynchronously past the page cache is what is read through it",
  PATIENCE,
  () => {
    withMount((directory) => {
      const script = join(root, "test", "fuse", "stale-reads.py");
      expect(runOk("python3", [script, join(directory, "file"), "5"])).toBe("no stale reads\n");
    });
  },
);

it("bash")("a directory is emptied while it is read", PATIENCE, () => {
  withMount((directory) => {
    shell(
      "mkdir many; cd many; seq -f 'a name of some length %g' 5000 | xargs -d '\\n' touch",
      directory,
    );
    expect(readdirSync(join(directory, "many"))).toHaveLength(5000);
    shell("rm -r many", directory);
    expect(readdirSync(directory)).toEqual(["lost+found"]);
  });
});
