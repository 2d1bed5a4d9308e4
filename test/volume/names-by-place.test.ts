// Names by directory and name, as the kernel gives them (src/fuse): exchange, no replacing, files without a name. On all
// drivers that keep names.

import { describe, expect, test } from "vitest";
import { memoryDevice } from "../../src/device/index.ts";
import type { Sleeps } from "../../src/sync/sleep.ts";
import { runScoped } from "../../src/volume/calls.ts";
import { type Mounted, mountCoreSync, mountUnread } from "../../src/volume/mount.ts";
import { createNameless, makeLinkAt, type RenameMode, renameAt } from "../../src/volume/names.ts";
import { parsePath, type Scope } from "../../src/volume/paths.ts";
import { e2fsckClean, hasTool, mkfsExt4, temporaryDirectory } from "../support/tools.ts";

const SIZE = 32 * 2 ** 20;
const types = hasTool("mkfs.ext4") && hasTool("e2fsck") ? ["ram", "ext2", "ext4"] : ["ram"];

describe.each(types)("%s", (type) => {
  function withVolume(use: (mounted: Mounted) => void): void {
    if (type === "ram") {
      const mounted = mountUnread(memoryDevice(SIZE), "ram", { regionBytes: 2 ** 28 });
      use(mounted);
      mounted.volume.closeSync();
      return;
    }
    using scratch = temporaryDirectory();
    const image = scratch.file("image");
    mkfsExt4(image, SIZE, ["-t", type]);
    const mounted = mountCoreSync(image, { regionBytes: 2 ** 28 });
    use(mounted);
    mounted.volume.closeSync();
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  }

  function run<T>({ core }: Mounted, operation: (scope: Scope) => Sleeps<T>): T {
    return core.runSync({}, (task) => runScoped(core, task, operation));
  }

  function rename(mounted: Mounted, from: string, to: string, mode: RenameMode): void {
    run(mounted, function* (scope) {
      const source = yield* scope.walk(parsePath(Buffer.from(from)));
      const target = yield* scope.walk(parsePath(Buffer.from(to)));
      yield* renameAt(scope, source, target, mode);
    });
  }

  test("names of any two types change places, and links are counted", () => {
    withVolume((mounted) => {
      const { volume } = mounted;
      volume.mkdirSync("/one/sub/deep", { recursive: true });
      volume.mkdirSync("/two");
      volume.writeFileSync("/two/file", "file");
      volume.writeFileSync("/other", "other");
      rename(mounted, "/one/sub", "/two/file", "exchange");
      expect(volume.readFileSync("/one/sub", "utf8")).toBe("file");
      expect(volume.readdirSync("/two/file")).toEqual(["deep"]);
      expect([volume.statSync("/one").nlink, volume.statSync("/two").nlink]).toEqual([2, 3]);
      rename(mounted, "/one/sub", "/other", "exchange");
      expect(volume.readFileSync("/other", "utf8")).toBe("file");
      rename(mounted, "/one", "/two/file/deep", "exchange");
      expect(volume.readdirSync("/two/file/deep")).toEqual(["sub"]);
      expect([volume.statSync("/").nlink, volume.statSync("/two/file").nlink]).toEqual([
        type === "ram" ? 4 : 5,
        3,
      ]);
      for (const [from, to, code] of [
        ["/two", "/two/file", "EINVAL"],
        ["/two/file", "/two", "EINVAL"],
        ["/two", "/none", "ENOENT"],
        ["/none", "/two", "ENOENT"],
      ] as const) {
        expect(() => rename(mounted, from, to, "exchange")).toThrow(code);
      }
    });
  });

  test("without replacing, only a free name is taken", () => {
    withVolume((mounted) => {
      const { volume } = mounted;
      volume.writeFileSync("/a", "a");
      volume.writeFileSync("/b", "b");
      volume.linkSync("/a", "/same");
      for (const to of ["/b", "/same"]) {
        expect(() => rename(mounted, "/a", to, "noreplace")).toThrow("EEXIST");
      }
      rename(mounted, "/a", "/c", "noreplace");
      expect(volume.readFileSync("/c", "utf8")).toBe("a");
    });
  });

  test("a file without a name goes with its last user, or gets a name", () => {
    withVolume((mounted) => {
      const { volume, core } = mounted;
      volume.mkdirSync("/d");
      const free = volume.statfsSync();
      const { times } = volume.statSync("/d");
      const make = (name: string | null): number =>
        run(mounted, function* (scope) {
          const directory = yield* scope.find(parsePath(Buffer.from("/d")), true);
          const file = yield* createNameless(scope, directory, { type: "file", mode: 0o600 });
          expect(file.isNameless).toBe(true);
          if (name === null) return file.ino;
          const place = yield* scope.walk(parsePath(Buffer.from(name)));
          yield* makeLinkAt(scope, file, place, true);
          return file.ino;
        });
      make(null);
      expect(volume.statfsSync()).toEqual(free);
      expect(volume.readdirSync("/d")).toEqual([]);
      expect(volume.statSync("/d").times).toEqual(times);
      const ino = make("/d/named");
      expect(volume.statSync("/d/named")).toMatchObject({ ino, nlink: 1 });
      expect(core.driver.orphans()).toEqual([]);
      expect(volume.statfsSync().ffree).toBe(free.ffree - 1);
    });
  });
});
