// Volumes filled by mkfs: what the kernel finds in them is what the directory or the archive held.

import {
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { describe, expect, test } from "vitest";
import {
  fsckSync,
  type MadeVolume,
  type MkfsOptions,
  mkfs,
  mkfsSync,
  mountSync,
} from "../../src/index.ts";
import { countedIn } from "../drivers/ext/quota-counts.ts";
import { randomFrom } from "../support/random.ts";
import { listAttributes, readAttribute, setAttribute } from "../interop/libc.ts";
import { differences, kernelPlace, type Tree, treeOf, volumePlace } from "../interop/trees.ts";
import {
  e2fsckClean,
  isRoot,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const FIXED = {
  uuid: "01234567-89ab-cdef-0123-456789abcdef",
  hashSeed: "fedcba98-7654-3210-fedc-ba9876543210",
  time: 1_700_000_000,
};
const mounted = skipUnless("root", "e2fsck", "loop mounts", "mknod");
const archived = skipUnless("root", "e2fsck", "loop mounts", "mknod", "tar");
const checked = skipUnless("e2fsck");
const counted = skipUnless("e2fsck", "debugfs");

function bytesOf(count: number, seed: number): Buffer {
  const random = randomFrom(seed);
  return Buffer.from(Array.from({ length: count }, () => random.below(256)));
}

function makeFiles(root: string): void {
  mkdirSync(`${root}/a/b/c`, { recursive: true });
  writeFileSync(`${root}/a/file`, "content");
  writeFileSync(`${root}/empty`, "");
  writeFileSync(`${root}/odd size`, bytesOf(70_001, 1));
  writeFileSync(`${root}/large`, Buffer.alloc(5 * MIB + 3, bytesOf(9973, 2)));
  const sparse = openSync(`${root}/sparse`, "w");
  writeSync(sparse, "middle", 3 * GIB + 5);
  writeSync(sparse, bytesOf(100_000, 3), 0, 100_000, 1_000_000);
  ftruncateSync(sparse, 4 * GIB + 1);
  closeSync(sparse);
  closeSync(openSync(`${root}/hole`, "w"));
  runOk("truncate", ["-s", "1G", `${root}/hole`]);
  // More parts than a header of GNU tar's has room for.
  const parts = openSync(`${root}/parts`, "w");
  for (let part = 0; part < 60; part++) writeSync(parts, `part ${part}`, part * 200_000);
  closeSync(parts);
  writeFileSync(`${root}/old`, "from before 1970");
  linkSync(`${root}/a/file`, `${root}/a/b/second`);
  linkSync(`${root}/a/file`, `${root}/third`);
  symlinkSync("../a/file", `${root}/a/short`);
  symlinkSync("t".repeat(300), `${root}/long`);
  linkSync(`${root}/long`, `${root}/long-too`);
  mkdirSync(`${root}/many`);
  for (let index = 0; index < 1500; index++)
    writeFileSync(`${root}/many/entry-${index}`, `${index}`);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/bytes-`), Buffer.of(0xff, 0xfe)]), "no UTF-8");
  writeFileSync(`${root}/${"n".repeat(255)}`, "long name");
}

function makeAttributes(root: string): void {
  for (const [name, ...numbers] of [
    ["fifo", "p"],
    ["null", "c", "1", "3"],
    ["disk", "b", "8", "1048575"],
  ]) {
    runOk("mknod", [`${root}/${name}`, ...numbers]);
  }
  runOk("chown", ["1000:2000", `${root}/a/b`]);
  runOk("chown", ["-h", "70000:4000000000", `${root}/long`]);
  runOk("chmod", ["4711", `${root}/a/file`]);
  runOk("chmod", ["2750", `${root}/a/b`]);
  runOk("chmod", ["1777", `${root}/many`]);
  lutimesSync(`${root}/long`, 1, 1_234_567_890);
  utimesSync(`${root}/old`, -1000.5, -1_000_000_000.25);
  for (const path of ["a/file", "a/b/c", "a/b", "a", "many", ""]) {
    utimesSync(`${root}/${path}`, 1, 1_000_000_000 + path.length);
  }
}

/** Attributes in the inode, in a block, of a directory and a symlink, empty, and an access control list. */
function makeAttributed(root: string): void {
  mkdirSync(`${root}/below`, { recursive: true });
  for (const name of ["plain", "attributed"]) writeFileSync(`${root}/${name}`, name);
  symlinkSync("plain", `${root}/link`);
  setAttribute(`${root}/attributed`, "user.small", "1");
  setAttribute(`${root}/attributed`, "user.large", "large ".repeat(500));
  setAttribute(`${root}/attributed`, "user.empty", "");
  setAttribute(`${root}/below`, "trusted.of-directory", Buffer.from("00ff0a3d", "hex"));
  setAttribute(`${root}/link`, "trusted.of-symlink", "of the symlink");
  const entries = ["0100070000000000", "0200050070110100", "0400040000000000"];
  const rest = ["1000070000000000", "2000000000000000"];
  const acl = Buffer.from(["02000000", ...entries, ...rest].join(""), "hex");
  setAttribute(`${root}/below`, "system.posix_acl_default", acl);
}

function makeTree(root: string): void {
  makeFiles(root);
  makeAttributes(root);
}

/** What a source cannot give: numbers of inodes, space by block size, and times that are the volume's. */
const IGNORED = ["ino", "blocks", "atime", "ctime", "birthtime"] as const;

/** Sizes of directories are the volume's matter, and so is lost+found. */
function comparable(tree: Tree, withNanoseconds: boolean): Tree {
  const isOwn = (path: string): boolean =>
    path === "/lost+found" || path.startsWith("/lost+found/");
  return new Map(
    [...tree]
      .filter(([path]) => !isOwn(path))
      .map(([path, seen]) => [
        path,
        {
          ...seen,
          size: (seen.mode & 0o170000) === 0o040000 ? 0 : seen.size,
          // The root gains lost+found.
          nlink: path === "" ? 0 : seen.nlink,
          mtime: withNanoseconds ? seen.mtime : seen.mtime / 1_000_000_000n,
        },
      ]),
  );
}

/** Expects what the kernel and Holdfast see in the image to be the tree, and the image to be sound. */
function expectHolds(
  image: string,
  source: string,
  directory: TemporaryDirectory,
  exact = true,
): void {
  const { clean, output } = e2fsckClean(image);
  expect(clean ? "" : output).toBe("");
  const wanted = comparable(treeOf(kernelPlace(source)), exact);
  const place = directory.file("mounted");
  mkdirSync(place, { recursive: true });
  using kernel = loopMount(image, place, ["ro"]);
  const seen = comparable(treeOf(kernelPlace(kernel.directory)), exact);
  expect(differences(wanted, seen, IGNORED)).toEqual([]);
  // Holes stay holes.
  for (const name of ["sparse", "hole"]) {
    expect(statSync(`${place}/${name}`).blocks * 512).toBeLessThan(MIB);
  }
  kernel.unmount();
  const volume = mountSync(image, { readOnly: true, regionBytes: 2 ** 28 });
  const own = comparable(treeOf(volumePlace(volume)), exact);
  volume.closeSync();
  expect(differences(wanted, own, IGNORED)).toEqual([]);
}

describe("a directory's contents", () => {
  mounted.each([undefined, 1024, 2048, 4096])(
    "are in a new volume with blocks of %s bytes",
    (blockSize) => {
      using directory = temporaryDirectory();
      const source = directory.file("source");
      mkdirSync(source);
      makeTree(source);
      const image = directory.file("image");
      const { filled } = mkfsSync(
        image,
        blockSize === undefined ? { from: source } : { from: source, blockSize },
      );
      expect(filled).toMatchObject({ directories: 4, links: 3, symlinks: 2, special: 3 });
      expectHolds(image, source, directory);
    },
  );

  mounted("of fixed uuid, hash seed and time make the same bytes each time", async () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    makeTree(source);
    const [one, two] = [directory.file("one"), directory.file("two")];
    mkfsSync(one, { from: source, ...FIXED });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await mkfs(two, { from: source, ...FIXED });
    expect(runOk("cmp", [one, two])).toBe("");
  });

  counted.each([1024, 4096])(
    "are counted in the quota files of a volume with blocks of %s bytes: users, groups and projects",
    (blockSize) => {
      using directory = temporaryDirectory();
      const source = directory.file("source");
      mkdirSync(source);
      makeFiles(source);
      const owners = [0, 1000, 1001, 65_536, 4_000_000_000];
      for (let file = 0; file < 40; file++) {
        writeFileSync(`${source}/of-${file}`, Buffer.alloc(1 + file * 3000, file));
        const [uid, gid] = [owners[file % 5]!, owners[file % 3]!];
        if (isRoot()) runOk("chown", [`${uid}:${gid}`, `${source}/of-${file}`]);
      }
      const image = directory.file("image");
      const features = "quota,project,orphan_file,inline_data";
      const made = mkfsSync(image, { from: source, blockSize, features });
      expect(made.mountable).toBe("read-write");
      const { clean, output } = e2fsckClean(image);
      expect(clean ? "" : output).toBe("");
      expect(fsckSync(image)).toMatchObject({ verdict: "clean", findings: [] });
      const files = readdirSync(source, { encoding: "buffer" }).map((name) =>
        lstatSync(Buffer.concat([Buffer.from(`${source}/`), name])),
      );
      for (const [kind, idOf] of [
        ["user", "uid"],
        ["group", "gid"],
      ] as const) {
        const found = countedIn(image, kind);
        for (const owner of owners.slice(1)) {
          const inodes = files.filter((file) => file[idOf] === owner).length;
          expect(found[owner]?.[1] ?? 0).toBe(inodes);
        }
      }
      expect(Object.keys(countedIn(image, "project"))).toEqual(["0"]);
    },
  );

  mounted("have their extended attributes, by a directory and by an archive", () => {
    using directory = temporaryDirectory();
    using other = temporaryDirectory();
    const kernel = directory.file("kernel");
    mkfsExt4(kernel, 8 * 2 ** 20, ["-b", "4096"]);
    using host = loopMount(kernel, other.path);
    const source = `${host.directory}/source`;
    makeAttributed(source);
    const archive = directory.file("archive.tar");
    const xattrs = ["--xattrs", "--xattrs-include=*"];
    runOk("tar", ["--format=pax", ...xattrs, "-cf", archive, "-C", source, "."]);
    for (const from of [source, archive]) {
      const image = directory.file("image");
      const { filled } = mkfsSync(image, { from, force: true, blockSize: 4096 });
      expect(filled).toMatchObject({ attributes: 6, attributesSkipped: 0 });
      const { clean, output } = e2fsckClean(image);
      expect(clean, output).toBe(true);
      using volume = mountSync(image);
      for (const path of ["/plain", "/attributed", "/below", "/link"]) {
        const names = volume.listxattrSync(path, { followSymlinks: false });
        expect(names.toSorted()).toEqual(listAttributes(`${source}${path}`).toSorted());
        for (const name of names) {
          const value = volume.getxattrSync(path, name, { followSymlinks: false });
          expect(value).toEqual(readAttribute(`${source}${path}`, name));
        }
      }
    }
  });

  mounted("are refused where an inode cannot have their attributes", () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    writeFileSync(`${source}/file`, "");
    setAttribute(`${source}/file`, "trusted.large", "v".repeat(5000));
    const make = (): unknown => mkfsSync(directory.file("image"), { from: source });
    expect(make).toThrowError(/^E2BIG: no room for trusted.large: .*'\/file'$/);
  });

  mounted("have large attributes where values may lie in inodes, the same bytes each time", () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    writeFileSync(`${source}/file`, "content");
    setAttribute(`${source}/file`, "trusted.large", "v".repeat(5000));
    const images = ["one", "two"].map((name) => directory.file(name));
    for (const image of images) {
      mkfsSync(image, { from: source, features: ["ea_inode"], ...FIXED });
      const { clean, output } = e2fsckClean(image);
      expect(clean, output).toBe(true);
      using volume = mountSync(image, { readOnly: true });
      expect(volume.getxattrSync("/file", "trusted.large").length).toBe(5000);
    }
    const [one, two] = images.map((image) => readFileSync(image));
    expect(Buffer.compare(one!, two!)).toBe(0);
  });

  checked("that do not fit are refused with the size that they need, which then suffices", () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    for (let index = 0; index < 40; index++) {
      writeFileSync(`${source}/${index}`, Buffer.alloc(300_000 + index * 777, index));
    }
    const image = directory.file("image");
    const options = { from: source, blockSize: 1024 } as const;
    let message = "";
    try {
      mkfsSync(image, { ...options, size: 4 * MIB });
    } catch (error) {
      message = (error as Error).message;
    }
    const needed = /ENOSPC.* size of (\d+)M/.exec(message)?.[1];
    expect(needed).toBeDefined();
    expect(existsSync(image)).toBe(false);
    mkfsSync(image, { ...options, size: Number(needed) * MIB });
    expect(e2fsckClean(image).clean).toBe(true);
    const automatic = mkfsSync(image, { ...options, size: "auto", force: true });
    expect(automatic.size).toBe(Number(needed) * MIB);
  });

  checked("that need many inodes get them", () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    for (let index = 0; index < 3000; index++) writeFileSync(`${source}/${index}`, "");
    const image = directory.file("image");
    expect(mkfsSync(image, { from: source }).inodes).toBeGreaterThan(3000);
    expect(e2fsckClean(image).clean).toBe(true);
    rmSync(image);
    expect(() => mkfsSync(image, { from: source, inodes: 100 })).toThrow(/inodes are asked for/);
  });
});

checked("a filling that fails leaves no volume where a forced one was", () => {
  using directory = temporaryDirectory();
  const source = directory.file("source");
  mkdirSync(source);
  writeFileSync(`${source}/large`, Buffer.alloc(6 * MIB, "large"));
  const image = directory.file("image");
  mkfsSync(image, { size: 4 * MIB });
  expect(() => mkfsSync(image, { from: source, force: true })).toThrow(/ENOSPC.*size of/);
  expect(statSync(image).size).toBe(4 * MIB);
  expect(() => mountSync(image, { readOnly: true })).toThrow(/holds no ext2, ext3 or ext4 volume/);
  expect(e2fsckClean(image).clean).toBe(false);
});

describe("an archive's contents", () => {
  const formats: [string, string[], boolean][] = [
    ["ustar, without what it cannot hold", ["--format=ustar"], false],
    ["GNU's, sparse", ["--format=gnu", "--sparse"], false],
    ["pax, sparse as 1.0", ["--format=posix", "--sparse"], true],
    ["pax, sparse as 0.1", ["--format=posix", "--sparse", "--sparse-version=0.1"], true],
  ];
  archived.each(formats)("are in a new volume: %s", (_, args, exact) => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    makeTree(source);
    if (args[0] === "--format=ustar") {
      // Neither owners above 2,097,151, nor names of 255 bytes, nor times before 1970, and no holes.
      runOk("chown", ["-h", "1:1", `${source}/long`]);
      for (const name of ["sparse", "hole", "old", "long", "long-too", "n".repeat(255)])
        rmSync(`${source}/${name}`);
      for (const name of ["sparse", "hole"]) writeFileSync(`${source}/${name}`, name);
      utimesSync(source, 1, 1_000_000_000);
    }
    const archive = directory.file("archive.tar");
    runOk("tar", [...args, "-C", source, "-cf", archive, "."]);
    const image = directory.file("image");
    mkfsSync(image, { from: archive });
    expectHolds(image, source, directory, exact);
  });

  const refusals: [string, (archive: string) => void, RegExp][] = [
    [
      "is compressed",
      (path) => {
        runOk("gzip", [path]);
        runOk("mv", [`${path}.gz`, path]);
      },
      /gzip -dc/,
    ],
    [
      "is none",
      (path) => writeFileSync(path, "text ".repeat(1000)),
      /neither a directory nor a tar/,
    ],
    ["ends early", (path) => runOk("truncate", ["-s", "1500", path]), /ends/],
    [
      "has a wrong header",
      (path) => {
        const bytes = readFileSync(path);
        bytes[1024 + 20] = 0x41;
        writeFileSync(path, bytes);
      },
      /byte 1024.*checksum/,
    ],
  ];
  skipUnless("tar", "gzip").each(refusals)(
    "are refused when the archive %s",
    (_, spoil, message) => {
      using directory = temporaryDirectory();
      const source = directory.file("source");
      mkdirSync(source);
      writeFileSync(`${source}/one`, "1".repeat(400));
      writeFileSync(`${source}/two`, "2".repeat(400));
      const archive = directory.file("archive.tar");
      runOk("tar", ["-C", source, "-cf", archive, "one", "two"]);
      spoil(archive);
      const image = directory.file("image");
      expect(() => mkfsSync(image, { from: archive })).toThrow(message);
      expect(existsSync(image)).toBe(false);
    },
  );

  skipUnless("tar")("never leave the volume's root", () => {
    using directory = temporaryDirectory();
    const source = directory.file("source");
    mkdirSync(source);
    writeFileSync(`${source}/one`, "1");
    const archive = directory.file("archive.tar");
    runOk("tar", ["-C", source, "--transform", "s,one,../one,", "-P", "-cf", archive, "one"]);
    expect(() => mkfsSync(directory.file("image"), { from: archive })).toThrow(/goes up/);
  });
});

test("progress is told file by file, and a signal ends it and removes the file", async () => {
  using directory = temporaryDirectory();
  const source = directory.file("source");
  mkdirSync(source);
  for (let index = 0; index < 20; index++) writeFileSync(`${source}/${index}`, "x".repeat(10_000));
  const image = directory.file("image");
  const paths: string[] = [];
  const options: MkfsOptions = {
    from: source,
    onProgress: ({ step, path, done, total }) => {
      if (step === "filling") paths.push(path);
      expect(done).toBeLessThanOrEqual(total);
    },
  };
  const made: MadeVolume = await mkfs(image, options);
  expect(made.filled).toMatchObject({ files: 20, bytes: 200_000 });
  expect(new Set(paths)).toEqual(
    new Set(["", ...Array.from({ length: 20 }, (_, index) => `${index}`)]),
  );
  rmSync(image);
  const stop = new AbortController();
  const onProgress: MkfsOptions["onProgress"] = ({ path }) => {
    if (path === "5") stop.abort();
  };
  await expect(
    mkfs(image, { from: source, onProgress, signal: stop.signal }),
  ).rejects.toMatchObject({
    name: "AbortError",
  });
  expect(existsSync(image)).toBe(false);
});
