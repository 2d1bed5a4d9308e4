// Directories of real images: read what mke2fs and debugfs wrote, write what e2fsck accepts.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import type { FileType } from "../../../src/iomap/contract.ts";
import { e2fsckClean, mkfsExt4, runOk, temporaryDirectory } from "../../support/tools.ts";
import {
  bytesOf,
  DirectoryImage,
  errorOf,
  newInode,
  rootIno,
  textOf,
  withImage,
} from "./directory-image.ts";

const blockSizes = [1024, 2048, 4096];
const SIZE = 16 * 2 ** 20;

describe.each(blockSizes)("with blocks of %i bytes", (blockSize) => {
  const options = ["-b", String(blockSize), "-N", "4096"];

  test("every type of file can be made, found, listed and removed", () => {
    withImage(SIZE, options, (image) => {
      const types: FileType[] = ["file", "directory", "fifo", "socket"];
      for (const type of types) image.create(rootIno, type, newInode(type));
      const device = { deviceMajor: 259, deviceMinor: 70000 };
      image.create(rootIno, "block", newInode("block-device", device));
      image.create(
        rootIno,
        "char",
        newInode("character-device", { deviceMajor: 5, deviceMinor: 1 }),
      );
      image.create(rootIno, "link", newInode("symlink", { target: bytesOf("where") }));

      for (const { name, ino, type } of image.list(rootIno)) {
        expect(image.find(rootIno, textOf(name))).toEqual({ ino, type });
        expect(image.driver.readInode(ino).type).toBe(type);
      }
      const { ino } = image.find(rootIno, "block")!;
      expect(image.driver.readInode(ino)).toMatchObject(device);
      expect(image.names(rootIno)).toEqual(
        [...types, "block", "char", "link", "lost+found"].sort(),
      );
      for (const name of image.names(rootIno)) {
        if (name !== "lost+found" && name !== "char") image.unlink(rootIno, name);
      }
      expect(image.names(rootIno)).toEqual(["char", "lost+found"]);
    });
  });

  test("symlinks of every length read back", () => {
    withImage(SIZE, options, (image) => {
      for (const length of [1, 58, 59, 60, 61, 255, blockSize - 1]) {
        const target = new Uint8Array(length).fill(0x41 + (length % 26));
        const ino = image.create(rootIno, `s${length}`, newInode("symlink", { target }));
        expect(image.driver.readLink(ino)).toEqual(target);
        expect(image.driver.readInode(ino).size).toBe(length);
      }
      const target = new Uint8Array(blockSize).fill(0x41);
      const tooLong = () => image.create(rootIno, "x", newInode("symlink", { target }));
      expect(errorOf(tooLong)?.code).toBe("ENAMETOOLONG");
      expect(errorOf(() => image.driver.readLink(rootIno))?.code).toBe("EINVAL");
      image.unlink(rootIno, "s60");
    });
  });

  test("20,000 names go in, are found, and go out", () => {
    withImage(64 * 2 ** 20, ["-b", String(blockSize), "-N", "32768"], (image) => {
      const directory = image.create(rootIno, "many", newInode("directory"));
      const file = image.create(directory, "file 0", newInode("file"));
      const count = 20_000;
      for (let index = 1; index < count; index++) image.link(directory, `file ${index}`, file);
      for (let index = 0; index < count; index += 7) {
        expect(image.find(directory, `file ${index}`)?.ino).toBe(file);
      }
      expect(image.find(directory, `file ${count}`)).toBe(null);
      expect(errorOf(() => image.link(directory, "file 77", file))?.code).toBe("EEXIST");
      expect(image.names(directory).length).toBe(count);
      expect(new Set(image.names(directory, 100)).size).toBe(count);
      for (let index = 0; index < count; index += 2) image.unlink(directory, `file ${index}`);
      expect(image.names(directory).length).toBe(count / 2);
    });
  });

  test("names of 255 bytes fill an index of two levels", () => {
    withImage(64 * 2 ** 20, options, (image) => {
      const directory = image.create(rootIno, "long", newInode("directory"));
      const file = image.create(directory, "first", newInode("file"));
      const count = 5_000;
      const longName = (index: number) => `${index}-`.padEnd(255, "\xe4\xff\x80z");
      for (let index = 0; index < count; index++) image.link(directory, longName(index), file);
      for (let index = 0; index < count; index++) {
        expect(image.find(directory, longName(index))?.ino).toBe(file);
      }
      expect(image.names(directory).length).toBe(count + 1);
      const tooLong = () => image.link(directory, "x".repeat(256), file);
      expect(errorOf(tooLong)?.code).toBe("ENAMETOOLONG");
    });
  });

  test("a directory that is being listed gives each lasting name exactly once", () => {
    withImage(SIZE, options, (image) => {
      const directory = image.create(rootIno, "d", newInode("directory"));
      const file = image.create(directory, "file", newInode("file"));
      for (let index = 0; index < 30; index++) {
        image.link(directory, `stays ${index}`, file);
        image.link(directory, `goes ${index}`, file);
      }
      let turn = 0;
      const listed = image.list(directory, 3, () => {
        if (turn < 30) image.unlink(directory, `goes ${turn}`);
        for (let more = 0; more < 40 && turn < 30; more++) {
          image.link(directory, `comes ${turn} ${more}`, file);
        }
        turn++;
      });
      const names = listed.map(({ name }) => textOf(name));
      expect(new Set(names).size).toBe(names.length);
      const lasting = names.filter((name) => name.startsWith("stays"));
      expect(lasting.length).toBe(30);
      expect(names).toContain(".");
      expect(names).toContain("..");
    });
  });

  test("any order of changes leaves the names a model says, and a clean volume", () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 400 }), (operations) => {
        withImage(SIZE, options, (image) => {
          const model = new Model(image);
          for (const each of operations) model.apply(each);
          model.check();
        });
      }),
      { numRuns: 12, endOnFailure: true },
    );
  });
});

describe("without an index", () => {
  test.each([
    ["no dir_index", ["-O", "^dir_index"]],
    ["no dir_index, no checksums", ["-O", "^dir_index,^metadata_csum"]],
    ["no file types", ["-O", "^filetype"]],
    ["no checksums", ["-O", "^metadata_csum"]],
    ["small inodes", ["-I", "128"]],
  ])("names work: %s", (_, more) => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 100, maxLength: 300 }), (operations) => {
        withImage(SIZE, ["-b", "1024", ...more], (image) => {
          const model = new Model(image);
          for (const each of operations) model.apply(each);
          model.check();
        });
      }),
      { numRuns: 5, endOnFailure: true },
    );
  });

  test("a listing by place gives each lasting name exactly once", () => {
    withImage(SIZE, ["-b", "1024", "-O", "^dir_index"], (image) => {
      const file = image.create(rootIno, "file", newInode("file"));
      for (let index = 0; index < 300; index++) image.link(rootIno, `name ${index}`, file);
      let turn = 0;
      const listed = image.list(rootIno, 5, () => {
        if (turn < 150) image.unlink(rootIno, `name ${turn * 2}`);
        if (turn < 150) image.link(rootIno, `a new and longer name ${turn}`, file);
        turn++;
      });
      const names = listed.map(({ name }) => textOf(name));
      const lasting = names.filter((name) => /^name \d*[13579]$/.test(name));
      expect(lasting.length).toBe(150);
      expect(new Set(lasting).size).toBe(150);
    });
  });
});

const names = [
  ...Array.from({ length: 40 }, (_, index) => `n${index}`),
  ...Array.from({ length: 12 }, (_, index) => `${index}`.padEnd(255, "long name ")),
  ...Array.from({ length: 8 }, (_, index) => `\xe4\xf6\xfc\xff\x80${index}`),
];

interface Operation {
  readonly kind: "file" | "directory" | "symlink" | "link" | "unlink" | "rename" | "fill" | "find";
  readonly places: readonly [number, number];
  readonly names: readonly [string, string];
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom(
    "file",
    "file",
    "directory",
    "symlink",
    "link",
    "unlink",
    "unlink",
    "rename",
    "rename",
    "fill",
    "find",
  ),
  places: fc.tuple(fc.nat(20), fc.nat(20)),
  names: fc.tuple(fc.constantFrom(...names), fc.constantFrom(...names)),
});

interface ModelFile {
  readonly ino: Ino;
  readonly type: FileType;
  links: number;
}

interface ModelDirectory {
  readonly ino: Ino;
  readonly type: "directory";
  parent: ModelDirectory;
  readonly entries: Map<string, ModelFile | ModelDirectory>;
}

/** What directories should hold: maps by name, changed along with the image. */
class Model {
  readonly #image: DirectoryImage;
  readonly #directories: ModelDirectory[];
  #filled = 0;

  constructor(image: DirectoryImage) {
    this.#image = image;
    const root = {
      ino: rootIno,
      type: "directory",
      entries: new Map(),
    } as unknown as ModelDirectory;
    root.parent = root;
    const lost: ModelDirectory = {
      ino: image.find(rootIno, "lost+found")!.ino,
      type: "directory",
      parent: root,
      entries: new Map(),
    };
    root.entries.set("lost+found", lost);
    this.#directories = [root];
  }

  apply({ kind, places, names: [name, otherName] }: Operation): void {
    const directory = this.#pick(places[0]);
    const other = this.#pick(places[1]);
    const found = directory.entries.get(name);
    if (kind === "find") {
      expect(this.#image.find(directory.ino, name)?.ino ?? null).toBe(found?.ino ?? null);
    } else if (kind === "file" || kind === "directory" || kind === "symlink") {
      this.#create(directory, name, kind);
    } else if (kind === "link") {
      this.#link(found, other, otherName);
    } else if (kind === "unlink") {
      this.#unlink(directory, name);
    } else if (kind === "rename") {
      this.#rename(directory, name, other, otherName);
    } else {
      for (let count = 0; count < 25; count++) {
        this.#create(directory, `filling ${this.#filled++}`, "file");
      }
    }
  }

  /** Every directory lists what the model holds, and inodes count their links. */
  check(): void {
    for (const directory of this.#directories) {
      const listed = this.#image.list(directory.ino, 7);
      const byName = new Map(listed.map((entry) => [textOf(entry.name), entry]));
      expect(listed.length).toBe(directory.entries.size + 2);
      expect(byName.get(".")?.ino).toBe(directory.ino);
      expect(byName.get("..")?.ino).toBe(directory.parent.ino);
      let subdirectories = 0;
      for (const [name, { ino, type }] of directory.entries) {
        expect(byName.get(name)?.ino).toBe(ino);
        expect(byName.get(name)?.type ?? type).toBe(type);
        expect(this.#image.find(directory.ino, name)?.ino).toBe(ino);
        if (type === "directory") subdirectories++;
      }
      const { linkCount } = this.#image.driver.readInode(directory.ino);
      expect(linkCount).toBe(2 + subdirectories);
    }
  }

  #pick(place: number): ModelDirectory {
    return this.#directories[place % this.#directories.length]!;
  }

  #create(directory: ModelDirectory, name: string, type: FileType): void {
    const inode = newInode(type, type === "symlink" ? { target: bytesOf(name) } : {});
    const error = errorOf(() => {
      const ino = this.#image.create(directory.ino, name, inode);
      const entry = { ino, type, links: 1, parent: directory, entries: new Map() };
      expect(directory.entries.has(name)).toBe(false);
      directory.entries.set(name, entry);
      if (type === "directory") this.#directories.push(entry as unknown as ModelDirectory);
    });
    if (error !== null) expect([error.code, directory.entries.has(name)]).toEqual(["EEXIST", true]);
  }

  #link(
    file: ModelFile | ModelDirectory | undefined,
    directory: ModelDirectory,
    name: string,
  ): void {
    if (file === undefined) return;
    const error = errorOf(() => this.#image.link(directory.ino, name, file.ino));
    if ("entries" in file && file.type === "directory") expect(error?.code).toBe("EPERM");
    else if (directory.entries.has(name)) expect(error?.code).toBe("EEXIST");
    else {
      expect(error).toBe(null);
      (file as ModelFile).links++;
      directory.entries.set(name, file);
      expect(this.#image.driver.readInode(file.ino).linkCount).toBe((file as ModelFile).links);
    }
  }

  #unlink(directory: ModelDirectory, name: string): void {
    const found = directory.entries.get(name);
    const error = errorOf(() => this.#image.unlink(directory.ino, name));
    if (found === undefined) expect(error?.code).toBe("ENOENT");
    else if (found.type === "directory" && (found as ModelDirectory).entries.size > 0) {
      expect(error?.code).toBe("ENOTEMPTY");
    } else {
      expect(error).toBe(null);
      directory.entries.delete(name);
      this.#lose(found);
    }
  }

  #lose(found: ModelFile | ModelDirectory): void {
    if (found.type !== "directory") (found as ModelFile).links--;
    else this.#directories.splice(this.#directories.indexOf(found as ModelDirectory), 1);
  }

  #rename(from: ModelDirectory, name: string, to: ModelDirectory, newName: string): void {
    const moved = from.entries.get(name);
    const replaced = to.entries.get(newName);
    const code = errorOf(() => this.#image.rename(from.ino, name, to.ino, newName))?.code ?? null;
    expect(code).toBe(renameError(moved, to, replaced));
    if (code !== null || moved === undefined || moved === replaced) return;
    from.entries.delete(name);
    to.entries.set(newName, moved);
    if (moved.type === "directory") (moved as ModelDirectory).parent = to;
    if (replaced !== undefined) this.#lose(replaced);
  }
}

function renameError(
  moved: ModelFile | ModelDirectory | undefined,
  to: ModelDirectory,
  replaced: ModelFile | ModelDirectory | undefined,
): string | null {
  if (moved === undefined) return "ENOENT";
  for (let up = to; ; up = up.parent) {
    if (up === moved) return "EINVAL";
    if (up === up.parent) break;
  }
  if (replaced === undefined || replaced === moved) return null;
  if (replaced.type !== "directory") return moved.type === "directory" ? "ENOTDIR" : null;
  if (moved.type !== "directory") return "EISDIR";
  return (replaced as ModelDirectory).entries.size > 0 ? "ENOTEMPTY" : null;
}

describe("what others wrote", () => {
  test("a tree that mke2fs copied in reads back, at every block size", () => {
    for (const blockSize of blockSizes) {
      using directory = temporaryDirectory();
      const tree = join(directory.path, "tree");
      mkdirSync(join(tree, "many"), { recursive: true });
      mkdirSync(join(tree, "a", "b"), { recursive: true });
      const written = Array.from({ length: 600 }, (_, index) => `file ${index}ä`.padEnd(60, "."));
      for (const name of written) writeFileSync(join(tree, "many", name), "");
      symlinkSync("short", join(tree, "a", "short"));
      symlinkSync("x".repeat(200), join(tree, "a", "long"));
      const path = directory.file("image");
      mkfsExt4(path, 16 * 1024 * 1024, ["-b", String(blockSize), "-d", tree]);
      // mke2fs writes plain blocks; e2fsck makes an index of them.
      runOkOrFixed("e2fsck", ["-fyD", path]);

      const image = new DirectoryImage(path);
      const many = image.find(rootIno, "many")!.ino;
      const names = image.names(many, 50).map((name) => Buffer.from(name, "latin1").toString());
      expect(names.sort()).toEqual(written.sort());
      for (const name of written) {
        const bytes = Uint8Array.from(Buffer.from(name));
        expect(image.driver.lookup(many, bytes)?.type).toBe("file");
      }
      const a = image.find(rootIno, "a")!.ino;
      expect(textOf(image.driver.readLink(image.find(a, "short")!.ino))).toBe("short");
      expect(textOf(image.driver.readLink(image.find(a, "long")!.ino))).toBe("x".repeat(200));
      expect(image.find(image.find(a, "b")!.ino, "..")?.ino).toBe(a);

      for (let index = 0; index < 500; index++) {
        image.create(many, `ours ${index}`, newInode("file"));
        image.unlink(many, Buffer.from(written[index]!).toString("latin1"));
      }
      image.close();
      const { clean, output } = e2fsckClean(path);
      expect(clean, output).toBe(true);
    }
  });

  test("debugfs finds every name by hash that was put into an index here", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 * 1024 * 1024, ["-b", "1024"]);
    const image = new DirectoryImage(path);
    const made = image.create(rootIno, "made", newInode("directory"));
    const file = image.create(made, "file", newInode("file"));
    for (let index = 0; index < 500; index++) image.link(made, `name-${index}`, file);
    image.close();
    const listed = runOk("debugfs", ["-R", "ls -p /made", path]);
    expect(listed.match(/name-\d+\//g)?.length).toBe(500);
    const dump = runOk("debugfs", ["-R", "htree_dump /made", path]);
    expect(dump).toMatch(/Indirect levels: 0/);
    for (let index = 0; index < 500; index += 50) {
      const stat = runOk("debugfs", ["-R", `stat /made/name-${index}`, path]);
      expect(stat).toContain(`Inode: ${file} `);
    }
  });
});

/** e2fsck answers 1 when it changed something, as it was asked to. */
function runOkOrFixed(command: string, args: string[]): void {
  runOk("sh", ["-c", `"$0" "$@"; test $? -le 1`, command, ...args]);
}

test("errors of the world are node-shaped and change nothing", () => {
  withImage(SIZE, ["-b", "1024"], (image) => {
    const directory = image.create(rootIno, "d", newInode("directory"));
    const inner = image.create(directory, "inner", newInode("directory"));
    const file = image.create(rootIno, "f", newInode("file"));
    const code = (work: () => unknown) => errorOf(work)?.code;
    expect(code(() => image.unlink(rootIno, "."))).toBe("EINVAL");
    expect(code(() => image.unlink(rootIno, ".."))).toBe("EINVAL");
    expect(code(() => image.unlink(rootIno, "none"))).toBe("ENOENT");
    expect(code(() => image.unlink(rootIno, "d"))).toBe("ENOTEMPTY");
    expect(code(() => image.find(file, "x"))).toBe("ENOTDIR");
    expect(code(() => image.create(file, "x", newInode("file")))).toBe("ENOTDIR");
    expect(code(() => image.create(rootIno, "a/b", newInode("file")))).toBe("EINVAL");
    expect(code(() => image.create(rootIno, "", newInode("file")))).toBe("ENOENT");
    expect(code(() => image.create(rootIno, ".", newInode("file")))).toBe("EEXIST");
    expect(code(() => image.rename(rootIno, "d", inner, "x"))).toBe("EINVAL");
    expect(code(() => image.rename(rootIno, "d", directory, "x"))).toBe("EINVAL");
    expect(code(() => image.rename(rootIno, "f", rootIno, "d"))).toBe("EISDIR");
    expect(code(() => image.rename(rootIno, "d", rootIno, "f"))).toBe("ENOTDIR");
    expect(code(() => image.rename(rootIno, ".", rootIno, "g"))).toBe("EINVAL");
    image.rename(rootIno, "f", rootIno, "f");
    image.rename(rootIno, "f", inner, "g");
    expect(image.names(rootIno)).toEqual(["d", "lost+found"]);
    expect(bytesOf("g").length).toBe(1);
    expect(image.find(inner, "g")?.ino).toBe(file);
  });
});
