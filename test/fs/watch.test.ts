// Watching, beside node:fs itself, which hears of the kernel's changes by inotify: the same changes are told in the same
// order. What is told twice in a row is told once, since inotify joins such events as it happens.

import { once } from "node:events";
import * as nodeFs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { VolumeFs } from "../../src/index.ts";
import { Region, Root } from "../../src/sync/region.ts";
import { VolumeWord } from "../../src/volume/state.ts";
import { temporaryDirectory } from "../support/tools.ts";
import { startRunner } from "../volume/threads.ts";
import { blockPointerKinds, volumeKinds } from "../volume/volumes.ts";

type WatchedFs = Pick<VolumeFs, Exclude<keyof VolumeFs & keyof typeof nodeFs, "promises">>;

/**
 * Ends when all that was changed before is told: changes are told in order, those of this directory, outside of what
 * a test watches, among them.
 */
class Fence implements Disposable {
  readonly #fs: WatchedFs;
  readonly #path: string;
  readonly #watcher: nodeFs.FSWatcher;
  #count = 0;

  constructor(fs: WatchedFs, path: string) {
    this.#fs = fs;
    this.#path = path;
    fs.mkdirSync(path);
    this.#watcher = fs.watch(path);
  }

  async passed(): Promise<void> {
    const name = `passed ${this.#count++}`;
    const heard = new Promise<void>((resolve) => {
      this.#watcher.on("change", (_type, told) => {
        if (told === name) resolve();
      });
    });
    this.#fs.writeFileSync(`${this.#path}/${name}`, "");
    await heard;
    this.#watcher.removeAllListeners("change");
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
  }
}

interface Story {
  /** What is there before. */
  readonly before?: (fs: WatchedFs, root: string) => void;
  /** What is watched, below the root; "" is the root. */
  readonly watched: readonly string[];
  /** One after the other, each heard before the next. */
  readonly steps: readonly ((fs: WatchedFs, root: string) => void)[];
}

const stories: Readonly<Record<string, Story>> = {
  "a directory tells of the names in it, and of changes of what has them": {
    watched: [""],
    steps: [
      (fs, root) => fs.writeFileSync(`${root}/f`, "one"),
      (fs, root) => fs.appendFileSync(`${root}/f`, "two"),
      (fs, root) => fs.writeFileSync(`${root}/f`, "three"),
      (fs, root) => fs.truncateSync(`${root}/f`, 1),
      (fs, root) => fs.chmodSync(`${root}/f`, 0o600),
      (fs, root) => fs.utimesSync(`${root}/f`, 1, 2),
      (fs, root) => fs.chownSync(`${root}/f`, process.getuid!(), process.getgid!()),
      (fs, root) => fs.renameSync(`${root}/f`, `${root}/g`),
      (fs, root) => fs.writeFileSync(`${root}/g`, "renamed"),
      (fs, root) => fs.linkSync(`${root}/g`, `${root}/h`),
      (fs, root) => fs.symlinkSync("g", `${root}/s`),
      (fs, root) => fs.unlinkSync(`${root}/s`),
      (fs, root) => fs.unlinkSync(`${root}/h`),
      (fs, root) => fs.mkdirSync(`${root}/d`),
      (fs, root) => fs.chmodSync(`${root}/d`, 0o700),
      (fs, root) => fs.writeFileSync(`${root}/d/below`, "not told of here"),
      (fs, root) => fs.renameSync(`${root}/d/below`, `${root}/up`),
      (fs, root) => fs.renameSync(`${root}/up`, `${root}/d/down`),
      (fs, root) => fs.unlinkSync(`${root}/d/down`),
      (fs, root) => fs.rmdirSync(`${root}/d`),
      (fs, root) => fs.copyFileSync(`${root}/g`, `${root}/copy`),
      (fs, root) => fs.renameSync(`${root}/copy`, `${root}/g`),
      (fs, root) => fs.writeFileSync(`${root}/g`, "of the copy"),
      (fs, root) => fs.rmSync(`${root}/g`),
      (fs, root) => fs.chmodSync(root, 0o700),
    ],
  },
  "a file tells of itself, until it is gone": {
    before: (fs, root) => {
      fs.writeFileSync(`${root}/f`, "f");
      fs.writeFileSync(`${root}/other`, "other");
    },
    watched: ["f"],
    steps: [
      (fs, root) => fs.writeFileSync(`${root}/other`, "changed"),
      (fs, root) => fs.appendFileSync(`${root}/f`, "f"),
      (fs, root) => fs.linkSync(`${root}/f`, `${root}/second`),
      (fs, root) => fs.writeFileSync(`${root}/second`, "by its other name"),
      (fs, root) => fs.unlinkSync(`${root}/second`),
      (fs, root) => fs.chmodSync(`${root}/f`, 0o600),
      (fs, root) => fs.renameSync(`${root}/f`, `${root}/g`),
      (fs, root) => fs.appendFileSync(`${root}/g`, "still"),
      (fs, root) => fs.unlinkSync(`${root}/g`),
      (fs, root) => fs.writeFileSync(`${root}/f`, "another file"),
    ],
  },
  "a file that another one replaces is gone": {
    before: (fs, root) => {
      fs.writeFileSync(`${root}/f`, "f");
      fs.writeFileSync(`${root}/g`, "g");
    },
    watched: ["f", "g", ""],
    steps: [
      (fs, root) => fs.renameSync(`${root}/g`, `${root}/f`),
      (fs, root) => fs.appendFileSync(`${root}/f`, "more"),
    ],
  },
  "a file without a name is gone when it is closed": {
    before: (fs, root) => fs.writeFileSync(`${root}/f`, "f"),
    watched: ["f"],
    steps: [
      (fs, root) => {
        opened.set(fs, fs.openSync(`${root}/f`, "r+"));
      },
      (fs, root) => fs.unlinkSync(`${root}/f`),
      (fs) => void fs.writeSync(opened.get(fs)!, "still there"),
      (fs) => fs.ftruncateSync(opened.get(fs)!, 3),
      (fs) => fs.closeSync(opened.get(fs)!),
    ],
  },
  "two directories tell of what moves between them, and of their own end": {
    before: (fs, root) => {
      fs.mkdirSync(`${root}/a`);
      fs.mkdirSync(`${root}/b`);
      fs.writeFileSync(`${root}/a/f`, "f");
    },
    watched: ["a", "b"],
    steps: [
      (fs, root) => fs.renameSync(`${root}/a/f`, `${root}/b/f`),
      (fs, root) => fs.appendFileSync(`${root}/b/f`, "f"),
      (fs, root) => fs.linkSync(`${root}/b/f`, `${root}/a/g`),
      (fs, root) => fs.renameSync(`${root}/b`, `${root}/a/b`),
      (fs, root) => fs.writeFileSync(`${root}/a/b/new`, "new"),
      (fs, root) => fs.rmSync(`${root}/a/b/new`),
      (fs, root) => fs.rmSync(`${root}/a/b/f`),
      (fs, root) => fs.rmdirSync(`${root}/a/b`),
    ],
  },
};

const opened = new Map<WatchedFs, number>();

/** All that is told, as "step what: type name". */
async function heard(fs: WatchedFs, root: string, story: Story): Promise<string[]> {
  const told: string[] = [];
  let step = 0;
  story.before?.(fs, root);
  using fence = new Fence(fs, `${root}-fence`);
  const watchers = story.watched.map((below) => {
    const watcher = fs.watch(`${root}${below === "" ? "" : `/${below}`}`);
    watcher.on("change", (type: string, name: string) => {
      const line = `${step} ${below}: ${type} ${name}`;
      if (told.at(-1) !== line) told.push(line);
    });
    return watcher;
  });
  for (const act of story.steps) {
    step++;
    act(fs, root);
    await fence.passed();
  }
  for (const watcher of watchers) watcher.close();
  // Which of several watchers is told first is nobody's promise.
  return told.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10) || watchOf(a, b));
}

function watchOf(a: string, b: string): number {
  const [first, second] = [a, b].map((line) => line.slice(0, line.indexOf(":")));
  return first! < second! ? -1 : first! > second! ? 1 : 0;
}

describe.each([...volumeKinds, ...blockPointerKinds])("$name", (kind) => {
  test.each(Object.entries(stories))("%s", async (_what, story) => {
    using directory = temporaryDirectory();
    using made = kind.make();
    const { fs } = made.volume;
    fs.mkdirSync("/root");
    nodeFs.mkdirSync(directory.file("root"));
    const [here, host] = await Promise.all([
      heard(fs, "/root", story),
      heard(nodeFs, directory.file("root"), story),
    ]);
    expect(here).toEqual(host);
    expect(host.length).toBeGreaterThan(3);
    expect(made.closeAndCheck()).toBe("");
  });
});

describe("watchers", () => {
  test("names come in the encoding that was asked for", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    using fence = new Fence(fs, "/fence");
    const names: unknown[] = [];
    const watchers = [
      fs.watch("/", "hex", (_type, name) => names.push(name)),
      fs.watch("/", { encoding: "buffer" }, (_type, name) => names.push(name)),
    ];
    fs.writeFileSync("/\u00fc", "");
    await fence.passed();
    expect(names.slice(0, 2)).toEqual(["c3bc", Buffer.from("\u00fc")]);
    for (const watcher of watchers) watcher.close();
  });

  test.each([
    ["/none", undefined, { code: "ENOENT", syscall: "watch", path: "none", filename: "none" }],
    ["/", { encoding: "no such encoding" }, { code: "ERR_INVALID_ARG_VALUE" }],
    [5, undefined, { code: "ERR_INVALID_ARG_TYPE" }],
  ])("what cannot be watched is refused as by Node: %j %j", async (path, options, expected) => {
    using directory = temporaryDirectory();
    using made = volumeKinds[0]!.make();
    const refusal = (fs: WatchedFs, root: string): unknown => {
      const where = typeof path === "string" ? root + path : path;
      try {
        fs.watch(where as string, options as object).close();
      } catch (error) {
        const { code, syscall, path: at, filename } = error as Record<string, string>;
        const last = (text?: string) => text?.slice(text.lastIndexOf("/") + 1);
        return syscall === undefined
          ? { code }
          : { code, syscall, path: last(at), filename: last(filename) };
      }
      return null;
    };
    expect(refusal(made.volume.fs, "")).toEqual(expected);
    expect(refusal(nodeFs, directory.path)).toEqual(expected);
  });

  test("a signal closes a watcher; a closed one tells nothing, and costs nothing", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    using fence = new Fence(fs, "/fence");
    const controller = new AbortController();
    const told: unknown[] = [];
    const watcher = fs.watch("/", { signal: controller.signal }, (type) => told.push(type));
    fs.writeFileSync("/f", "");
    await fence.passed();
    expect(told).toEqual(["rename"]);
    const closed = once(watcher, "close");
    controller.abort();
    await closed;
    fs.writeFileSync("/g", "");
    await fence.passed();
    expect(told).toEqual(["rename"]);
    watcher.close();
    const early = fs.watch("/", { signal: AbortSignal.abort() });
    await once(early, "close");
  });

  test("what is no listener is refused, and nothing watches then", () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    const timers = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    const before = timers();
    expect(() => fs.watch("/", {}, "listener" as never)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_TYPE" }),
    );
    expect(timers()).toBe(before);
    fs.watch("/", {}, null as never).close();
  });

  test("a file that is looked at again in the same turn is, until nobody looks", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    const heard = (): void => {};
    fs.watchFile("/f", heard);
    fs.unwatchFile("/f", heard);
    const again = fs.watchFile("/f", heard);
    await sleep(1);
    expect(fs.watchFile("/f", heard)).toBe(again);
    const stopped = once(again, "stop");
    fs.unwatchFile("/f");
    await stopped;
  });

  test("nothing looks at files of a closed volume", () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    made.volume.closeSync();
    expect(() => fs.watchFile("/f", () => {})).toThrow(expect.objectContaining({ code: "EBADF" }));
  });

  test("the volume closes what still watches", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    const watcher = fs.watch("/");
    const polling = fs.watchFile("/f", () => {});
    const ended = Promise.all([once(watcher, "close"), once(polling, "stop")]);
    await made.volume.close();
    await ended;
  });

  test("a tree is watched with all that comes to it, until that leaves", async () => {
    using made = volumeKinds[1]!.make();
    const { fs } = made.volume;
    fs.mkdirSync("/top/old/deep", { recursive: true });
    fs.mkdirSync("/outside/come/in", { recursive: true });
    fs.writeFileSync("/outside/come/in/f", "");
    fs.writeFileSync("/top/old/deep/f", "");
    using fence = new Fence(fs, "/fence");
    const told: string[] = [];
    const watcher = fs.watch("/top", { recursive: true }, (type, name) => {
      const line = `${type} ${name}`;
      if (told.at(-1) !== line) told.push(line);
    });
    const steps: [act: () => void, ...expected: string[]][] = [
      [() => fs.appendFileSync("/top/old/deep/f", "x"), "change old/deep/f"],
      [() => fs.writeFileSync("/top/old/g", "x"), "rename old/g", "change old/g"],
      [() => fs.mkdirSync("/top/new/er", { recursive: true }), "rename new", "rename new/er"],
      [() => fs.writeFileSync("/top/new/er/h", "h"), "rename new/er/h", "change new/er/h"],
      [() => fs.renameSync("/top/new", "/top/old/new"), "rename new", "rename old/new"],
      [() => fs.appendFileSync("/top/old/new/er/h", "x"), "change old/new/er/h"],
      [() => fs.renameSync("/outside/come", "/top/come"), "rename come"],
      [() => fs.appendFileSync("/top/come/in/f", "x"), "change come/in/f"],
      [() => fs.renameSync("/top/old", "/outside/old"), "rename old"],
      [() => fs.appendFileSync("/outside/old/new/er/h", "x")],
      [() => fs.writeFileSync("/outside/old/deep/i", "x")],
      [() => fs.renameSync("/outside/old/new", "/top/back"), "rename back"],
      [() => fs.appendFileSync("/top/back/er/h", "x"), "change back/er/h"],
      [
        () => fs.rmSync("/top/back", { recursive: true }),
        "rename back/er/h",
        "rename back/er",
        "rename back",
      ],
    ];
    for (const [act, ...expected] of steps) {
      told.length = 0;
      act();
      await fence.passed();
      expect(told).toEqual(expected);
    }
    watcher.close();
    expect(made.closeAndCheck()).toBe("");
  });

  test("more changes than the ring holds, in one turn of the event loop, are all told", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    const names = new Set<string>();
    const watcher = fs.watch("/", (_type, name) => names.add(name!));
    for (let at = 0; at < 3000; at++) fs.writeFileSync(`/f${at}`, "x");
    while (names.size < 3000) await sleep(5);
    watcher.close();
  });

  test("changes of other threads are told, and when some were missed, that", async () => {
    using made = volumeKinds[0]!.make();
    const { fs } = made.volume;
    await using runner = await startRunner(made.volume.share());
    using fence = new Fence(fs, "/fence");
    const told: (string | null)[] = [];
    const watcher = fs.watch("/", (type, name) =>
      told.push(name === null ? null : `${type} ${name}`),
    );
    await runner.run((volume) => {
      volume.fs.writeFileSync("/theirs", "x");
      volume.fs.renameSync("/theirs", "/ours");
    });
    await fence.passed();
    expect(new Set(told)).toEqual(new Set(["rename theirs", "change theirs", "rename ours"]));
    // This thread sleeps over all of it.
    told.length = 0;
    const done = new Int32Array(new SharedArrayBuffer(4));
    const making = runner.run((volume, _kept, shared: Int32Array) => {
      for (let at = 0; at < 2000; at++) volume.fs.writeFileSync(`/f${at}`, "x");
      Atomics.store(shared, 0, 1);
      Atomics.notify(shared, 0);
    }, done);
    Atomics.wait(done, 0, 0);
    await making;
    while (!told.includes(null)) await sleep(5);
    await fence.passed();
    told.length = 0;
    fs.appendFileSync("/f1999", "more");
    await fence.passed();
    expect(told).toEqual(["change f1999"]);
    watcher.close();
  });

  test("a thread that dies watching leaves nothing to pay for", async () => {
    using made = volumeKinds[0]!.make();
    const handle = made.volume.share();
    const runner = await startRunner(handle);
    await runner.run((volume) => {
      volume.fs.watch("/");
    });
    const region = Region.attach(handle.region);
    const area = Atomics.load(region.words, region.root(Root.volume) + VolumeWord.changes);
    const watching = (): number => Atomics.load(region.words, area);
    expect(watching()).toBe(1);
    await runner.terminate();
    made.volume.statistics();
    expect(watching()).toBe(0);
  });
});

type PromisedFs = Pick<VolumeFs["promises"], "watch" | "mkdir" | "rmdir">;

test.each(volumeKinds)(
  "$name: promises.watch tells as node:fs does, and ends by its signal",
  async (kind) => {
    using directory = temporaryDirectory();
    using made = kind.make();
    made.volume.fs.mkdirSync("/root");
    const story = async (fs: PromisedFs, root: string): Promise<unknown[]> => {
      const controller = new AbortController();
      const told: unknown[] = [];
      const events = fs.watch(root, { signal: controller.signal })[Symbol.asyncIterator]();
      // It watches from the first call on. Node forgets what is told while nobody asks: so one at a time.
      let next = events.next();
      await sleep(100);
      for (const act of [() => fs.mkdir(`${root}/d`), () => fs.rmdir(`${root}/d`)]) {
        await act();
        told.push((await next).value);
        next = events.next();
      }
      controller.abort();
      told.push(await next.catch((error: unknown) => (error as { code: string }).code));
      for (const options of [{ signal: AbortSignal.abort() }, { persistent: 1 }, {}]) {
        const refused = fs.watch(`${root}/none`, options as object)[Symbol.asyncIterator]();
        told.push(await refused.next().catch((error: unknown) => (error as { code: string }).code));
      }
      return told;
    };
    const host = await story(nodeFs.promises, directory.path);
    expect(await story(made.volume.fs.promises, "/root")).toEqual(host);
    expect(host).toContain("ABORT_ERR");
  },
);

test.each(volumeKinds)("$name: watchFile tells as node:fs does", async (kind) => {
  using directory = temporaryDirectory();
  using made = kind.make();
  made.volume.fs.mkdirSync("/root");
  const story = async (fs: WatchedFs, root: string): Promise<unknown[]> => {
    // Each by itself: which of the two files is looked at first is nobody's promise.
    const told: unknown[] = [];
    const bigTold: unknown[] = [];
    const path = `${root}/f`;
    const heard = (now: nodeFs.Stats, before: nodeFs.Stats): void => {
      told.push(
        [now, before].map(({ size, mode, nlink, mtimeMs }) => [size, mode, nlink, mtimeMs > 0]),
      );
    };
    const bigHeard = (now: nodeFs.BigIntStats): unknown => bigTold.push(now.size);
    const watcher = fs.watchFile(path, { interval: 8 }, heard);
    const big = fs.watchFile(`${path}/../g`, { interval: 8, bigint: true }, bigHeard);
    /** In one step: it is looked at at any time. */
    const put = (to: string, content: string): void => {
      fs.writeFileSync(`${root}/new`, content, { mode: 0o644 });
      fs.renameSync(`${root}/new`, to);
    };
    const steps: [act: () => void, toldThen: number][] = [
      [() => {}, 2],
      [() => put(path, "one"), 3],
      [() => fs.appendFileSync(path, "two"), 4],
      [() => fs.chmodSync(path, 0o600), 5],
      [() => fs.unlinkSync(path), 6],
      [() => put(path, "again"), 7],
      [() => put(`${root}/g`, "big"), 8],
    ];
    for (const [act, count] of steps) {
      act();
      while (told.length + bigTold.length < count) await sleep(5);
    }
    const stopped = once(watcher, "stop");
    fs.unwatchFile(path, () => {});
    fs.unwatchFile(path, heard);
    await stopped;
    fs.appendFileSync(path, "nobody listens");
    fs.unwatchFile(`${root}/g`);
    await sleep(60);
    expect(big.listenerCount("change")).toBe(0);
    return [told, bigTold];
  };
  const [here, host] = await Promise.all([
    story(made.volume.fs, "/root"),
    story(nodeFs, directory.path),
  ]);
  expect(here).toEqual(host);
  expect(host).toEqual([expect.objectContaining({ length: 6 }), [0n, 3n]]);
});
