// Extended attributes by the calls of a volume: what is refused, by which error, and what changes with them.
// Beside the kernel's own they are in test/interop/xattr.test.ts.

import { expect, test } from "vitest";
import { fsckSync, mountRamSync, mountSync } from "../../src/index.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const checked = skipUnless("e2fsck", "debugfs");

function makeVolume(path: string, options: readonly string[] = []) {
  mkfsExt4(path, 8 * 2 ** 20, options);
  return mountSync(path, { regionBytes: 2 ** 27 });
}

function codeOf(call: () => unknown): string | null {
  try {
    call();
    return null;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("paths, handles, promises and blocking calls are about the same attributes", async () => {
  using directory = temporaryDirectory();
  using volume = makeVolume(directory.file("image"));
  volume.writeFileSync("/file", "");
  volume.symlinkSync("file", "/link");
  using file = volume.openSync("/file", "r");
  await volume.setxattr("/link", "user.one", "1");
  volume.setxattrSync("/file", "user.two", Buffer.from("2"));
  await file.setxattr("user.three", "3", { only: "create" });
  file.setxattrSync("user.three", "drei", { only: "replace" });
  await expect(file.setxattr("user.three", "3", { only: "create" })).rejects.toMatchObject({
    code: "EEXIST",
    syscall: "fsetxattr",
    path: "/file",
  });
  const names = ["user.one", "user.three", "user.two"];
  expect((await file.listxattr()).toSorted()).toEqual(names);
  expect(file.listxattrSync().toSorted()).toEqual(names);
  expect((await volume.listxattr("/link")).toSorted()).toEqual(names);
  expect(volume.listxattrSync("/link", { followSymlinks: false })).toEqual([]);
  expect(Buffer.from(await volume.getxattr("/file", "user.three")).toString()).toBe("drei");
  expect(Buffer.from(file.getxattrSync("user.one")).toString()).toBe("1");
  expect(Buffer.from(await file.getxattr("user.two")).toString()).toBe("2");
  await file.removexattr("user.one");
  file.removexattrSync("user.two");
  await volume.removexattr("/file", "user.three");
  expect(() => volume.removexattrSync("/file", "user.three")).toThrowError(
    expect.objectContaining({ code: "ENODATA", syscall: "removexattr", path: "/file" }),
  );
  expect(volume.listxattrSync("/file")).toEqual([]);
});

test("each change sets the change time, and nothing else", () => {
  using directory = temporaryDirectory();
  using volume = makeVolume(directory.file("image"));
  volume.writeFileSync("/file", "content");
  const before = volume.statSync("/file");
  volume.setxattrSync("/file", "user.name", "value");
  const after = volume.statSync("/file");
  expect(after.ctimeMs).toBeGreaterThan(before.ctimeMs);
  expect([after.mtimeMs, after.mode, after.size]).toEqual([
    before.mtimeMs,
    before.mode,
    before.size,
  ]);
});

test("what is set to the value that it has does not change, nor does the change time", () => {
  using directory = temporaryDirectory();
  using volume = makeVolume(directory.file("image"));
  volume.writeFileSync("/file", "content");
  volume.mkdirSync("/directory");
  const le32 = (id: number) => [id, id >>> 8, id >>> 16, id >>> 24].map((byte) => byte & 255);
  const entry = (tag: number, rights: number, id = 0xffffffff) => [tag, 0, rights, 0, ...le32(id)];
  const list = (rights: number) =>
    Uint8Array.from([
      ...le32(2),
      ...[...entry(1, 6), ...entry(2, rights, 5), ...entry(4, 4), ...entry(16, 7), ...entry(32, 4)],
    ]);
  const cases: [path: string, name: string, value: Uint8Array, other: Uint8Array][] = [
    ["/file", "user.short", Buffer.from("a"), Buffer.from("b")],
    ["/file", "user.long", new Uint8Array(800).fill(1), new Uint8Array(800).fill(2)],
    ["/file", "system.posix_acl_access", list(6), list(4)],
    ["/directory", "system.posix_acl_default", list(6), list(4)],
  ];
  for (const [path, name, value, other] of cases) {
    const timeSetting = (to: Uint8Array) => {
      volume.setxattrSync(path, name, to);
      return volume.fs.statSync(path, { bigint: true }).ctimeNs;
    };
    const first = timeSetting(value);
    expect([name, timeSetting(value)]).toEqual([name, first]);
    expect([name, timeSetting(other) > first]).toEqual([name, true]);
  }
  volume.removexattrSync("/directory", "system.posix_acl_default");
  const removed = volume.fs.statSync("/directory", { bigint: true }).ctimeNs;
  volume.removexattrSync("/directory", "system.posix_acl_default");
  expect(volume.fs.statSync("/directory", { bigint: true }).ctimeNs).toBe(removed);
});

test("arguments of wrong kinds are refused before anything is looked up", () => {
  using directory = temporaryDirectory();
  using volume = makeVolume(directory.file("image"));
  const wrong = (value: unknown) => value as string;
  expect(codeOf(() => volume.getxattrSync("/", wrong(1)))).toBe("ERR_INVALID_ARG_TYPE");
  expect(codeOf(() => volume.setxattrSync("/", "user.a", wrong(1)))).toBe("ERR_INVALID_ARG_TYPE");
  const options = { only: wrong("both") as "create" };
  expect(codeOf(() => volume.setxattrSync("/", "user.a", "", options))).toBe(
    "ERR_INVALID_ARG_TYPE",
  );
  expect(volume.listxattrSync("/")).toEqual([]);
});

test("a ram volume has none, and says so", () => {
  using volume = mountRamSync({ size: 16 * 2 ** 20 });
  expect(codeOf(() => volume.listxattrSync("/"))).toBe("EOPNOTSUPP");
  expect(codeOf(() => volume.setxattrSync("/", "user.a", ""))).toBe("EOPNOTSUPP");
  volume.mkdirSync("/directory", { mode: 0o700 });
  expect(volume.statSync("/directory").mode & 0o777).toBe(0o700);
});

checked("volumes mounted to be read, and files that may not change, refuse changes", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  const volume = makeVolume(image);
  for (const name of ["/immutable", "/append"]) {
    volume.writeFileSync(name, "");
    volume.setxattrSync(name, "user.a", "1");
  }
  volume.closeSync();
  runOk("debugfs", ["-w", "-R", "sif /immutable flags 0x80010", image]);
  runOk("debugfs", ["-w", "-R", "sif /append flags 0x80020", image]);
  {
    using changed = mountSync(image);
    for (const name of ["/immutable", "/append"]) {
      expect(codeOf(() => changed.setxattrSync(name, "user.a", "2"))).toBe("EPERM");
      expect(codeOf(() => changed.removexattrSync(name, "user.a"))).toBe("EPERM");
      expect(Buffer.from(changed.getxattrSync(name, "user.a")).toString()).toBe("1");
    }
  }
  using read = mountSync(image, { readOnly: true });
  expect(codeOf(() => read.setxattrSync("/append", "user.a", "2"))).toBe("EROFS");
  expect(codeOf(() => read.removexattrSync("/append", "user.a"))).toBe("EROFS");
});

test("a full volume refuses what needs a block, with what there was left as it was", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  const volume = makeVolume(image, ["-b", "1024", "-m", "0"]);
  volume.writeFileSync("/file", "");
  volume.setxattrSync("/file", "user.small", "1");
  volume.mkdirSync("/directory");
  {
    using filler = volume.openSync("/filler", "w");
    const chunk = new Uint8Array(65_536);
    for (let at = 0; codeOf(() => filler.writeSync(chunk, at)) === null; )
      at = filler.statSync().size;
  }
  const large = "v".repeat(600);
  expect(codeOf(() => volume.setxattrSync("/file", "user.large", large))).toBe("ENOSPC");
  expect(codeOf(() => volume.setxattrSync("/file", "user.small", large))).toBe("ENOSPC");
  expect(volume.listxattrSync("/file")).toEqual(["user.small"]);
  expect(Buffer.from(volume.getxattrSync("/file", "user.small")).toString()).toBe("1");
  volume.unlinkSync("/filler");
  volume.setxattrSync("/file", "user.large", large);
  volume.closeSync();
  expect(fsckSync(image).findings).toEqual([]);
});
