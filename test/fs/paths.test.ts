// The node:fs face, beside node:fs itself: the same calls, in all their forms, with right and wrong arguments, answer alike.

import * as nodeFs from "node:fs";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, volumeKinds } from "../volume/volumes.ts";
import { at, type Form, forms, hasForm, outcome, type Target } from "./forms.ts";

const { constants } = nodeFs;

type Call = readonly [name: string, ...args: unknown[]];

/** Calls, one after the other: what they do is there for the next. */
const programs: Readonly<Record<string, readonly Call[]>> = {
  "files are written, appended to and read": [
    ["writeFile", at("f"), "hello"],
    ["readFile", at("f"), "utf8"],
    ["readFile", at("f"), { encoding: "hex" }],
    ["readFile", at("f")],
    ["appendFile", at("f"), Buffer.from(" there")],
    ["appendFile", at("f"), " now", { encoding: "latin1", mode: 0o600 }],
    ["readFile", at("f"), "latin1"],
    ["writeFile", at("f"), "short", { flag: "r+" }],
    ["readFile", at("f"), "utf8"],
    ["writeFile", at("f"), "x", { flag: "wx" }],
    ["writeFile", at("new"), "x", { flag: "wx", mode: 0o640 }],
    ["stat", at("new")],
    ["writeFile", at("words"), new Uint16Array([0x4142, 0x4344])],
    ["readFile", at("words"), "utf8"],
    ["writeFile", at("hex"), "616263", "hex"],
    ["readFile", at("hex"), "utf8"],
    ["truncate", at("f"), 2],
    ["readFile", at("f"), "utf8"],
    ["truncate", at("f"), 4],
    ["readFile", at("f"), "utf8"],
    ["truncate", at("f")],
    ["stat", at("f")],
    ["writeFile", at("none/f"), "x"],
    ["readFile", at("none")],
    ["readFile", at("")],
    ["writeFile", at(""), "x"],
    ["truncate", at("none"), 1],
    ["readFile", at("f"), { flag: "a+" }],
  ],
  "directories are made, listed and removed": [
    ["mkdir", at("d")],
    ["mkdir", at("d")],
    ["mkdir", at("d/e/f")],
    ["mkdir", at("d/e/f"), { recursive: true }],
    ["mkdir", at("d/e/f"), { recursive: true, mode: 0o700 }],
    ["mkdir", at("m"), 0o711],
    ["stat", at("m")],
    ["mkdir", at("o"), { mode: "0700" }],
    ["stat", at("o")],
    ["writeFile", at("d/one"), "1"],
    ["writeFile", at("d/e/two"), "2"],
    ["readdir", at("d")],
    ["readdir", at("d"), { withFileTypes: true }],
    ["readdir", at("d"), { recursive: true }],
    ["readdir", at("d"), { recursive: true, withFileTypes: true }],
    ["readdir", at("d"), "buffer"],
    ["readdir", at("d"), { encoding: "hex" }],
    ["readdir", at("d/one")],
    ["readdir", at("none")],
    ["rmdir", at("d")],
    ["rmdir", at("d/one")],
    ["rmdir", at("none")],
    ["rmdir", at("m")],
    ["rm", at("d")],
    ["rm", at("none")],
    ["rm", at("none"), { force: true }],
    ["rm", at("d/one")],
    ["rm", at("d"), { recursive: true }],
    ["readdir", at("")],
  ],
  "names are changed": [
    ["writeFile", at("a"), "a"],
    ["mkdir", at("d")],
    ["rename", at("a"), at("b")],
    ["rename", at("a"), at("b")],
    ["rename", at("b"), at("d")],
    ["rename", at("d"), at("b")],
    ["rename", at("d"), at("d/e")],
    ["link", at("b"), at("c")],
    ["link", at("b"), at("c")],
    ["link", at("d"), at("e")],
    ["stat", at("b")],
    ["unlink", at("c")],
    ["unlink", at("c")],
    ["unlink", at("d")],
    ["stat", at("b")],
    ["access", at("b")],
    ["access", at("b"), constants.R_OK | constants.W_OK],
    ["access", at("b"), constants.X_OK],
    ["access", at("d"), constants.X_OK],
    ["access", at("none")],
    ["access", at("b/x")],
    ["exists", at("b")],
    ["exists", at("none")],
  ],
  "symlinks are made, read and followed": [
    ["mkdir", at("d")],
    ["writeFile", at("d/f"), "f"],
    ["symlink", "d/f", at("s")],
    ["symlink", "d", at("t"), "dir"],
    ["symlink", "nowhere", at("u")],
    ["symlink", "v", at("v")],
    ["symlink", "d", at("s")],
    ["readlink", at("s")],
    ["readlink", at("s"), "buffer"],
    ["readlink", at("d")],
    ["readlink", at("none")],
    ["stat", at("s")],
    ["lstat", at("s")],
    ["stat", at("u")],
    ["stat", at("v")],
    ["readFile", at("t/f"), "utf8"],
    ["realpath", at("t/f")],
    ["realpath", at("t/../t/./f")],
    ["realpath", at("s"), "buffer"],
    ["realpath", at("u")],
    ["realpath", at("v")],
    ["writeFile", at("u"), "made"],
    ["readFile", at("nowhere"), "utf8"],
    ["readdir", at("t")],
    ["rmdir", at("t")],
    ["unlink", at("t")],
    ["rm", at("s")],
    ["readdir", at("")],
  ],
  "attributes are changed": [
    ["writeFile", at("f"), "f"],
    ["chmod", at("f"), 0o600],
    ["stat", at("f")],
    ["chmod", at("f"), "755"],
    ["stat", at("f")],
    ["chmod", at("none"), 0o600],
    ["chown", at("f"), 1, 2],
    ["chown", at("none"), 1, 2],
    ["symlink", "f", at("s")],
    ["lchown", at("s"), 3, 4],
    ["utimes", at("f"), 1, 2],
    ["utimes", at("f"), new Date(5000), "7"],
    ["lutimes", at("s"), 8, 9],
    ["utimes", at("none"), 1, 2],
    ["stat", at("f"), { bigint: true }],
    ["lstat", at("s"), { bigint: true }],
    ["statfs", at("")],
    ["statfs", at(""), { bigint: true }],
    ["statfs", at("none")],
  ],
  "files and trees are copied": [
    ["writeFile", at("f"), "content", { mode: 0o750 }],
    ["copyFile", at("f"), at("g")],
    ["readFile", at("g"), "utf8"],
    ["stat", at("g")],
    ["copyFile", at("f"), at("g"), constants.COPYFILE_EXCL],
    ["copyFile", at("f"), at("h"), constants.COPYFILE_FICLONE],
    ["readFile", at("h"), "utf8"],
    ["copyFile", at("none"), at("h")],
    ["mkdir", at("d/e"), { recursive: true }],
    ["writeFile", at("d/e/x"), "x"],
    ["symlink", "e/x", at("d/link")],
    ["cp", at("d"), at("copy")],
    ["cp", at("d"), at("copy"), { recursive: true }],
    ["readdir", at("copy"), { recursive: true }],
    ["readFile", at("copy/e/x"), "utf8"],
    ["readlink", at("copy/link")],
    ["cp", at("d"), at("verbatim"), { recursive: true, verbatimSymlinks: true }],
    ["readlink", at("verbatim/link")],
    ["cp", at("d"), at("d/e/f"), { recursive: true }],
    ["cp", at("d"), at("d"), { recursive: true }],
    ["writeFile", at("copy/e/x"), "changed"],
    ["cp", at("d"), at("copy"), { recursive: true, force: false }],
    ["readFile", at("copy/e/x"), "utf8"],
    ["cp", at("d/e"), at("copy/e"), { recursive: true, force: false, errorOnExist: true }],
    ["cp", at("f"), at("copy")],
    ["cp", at("d"), at("f"), { recursive: true }],
    ["cp", at("none"), at("f")],
    ["cp", at("f"), at("new/deep/f")],
    ["readFile", at("new/deep/f"), "utf8"],
    ["chmod", at("f"), 0o666],
    ["copyFile", at("f"), at("as it is")],
    ["stat", at("as it is")],
    ["chmod", at("f"), 0o4751],
    ["copyFile", at("f"), at("g")],
    ["stat", at("g")],
    ["cp", at("f"), at("g")],
    ["stat", at("g")],
    ["symlink", "../e/./x", at("d/e/up")],
    ["cp", at("d/e/up"), at("resolved")],
    ["readlink", at("resolved")],
    ["writeFile", at("taken"), "t"],
    ["cp", at("d/link"), at("taken")],
    ["readFile", at("taken"), "utf8"],
  ],
  "names are bytes": [
    ["writeFile", at("ü"), "u"],
    ["readdir", at("")],
    ["readdir", at(""), "latin1"],
    ["readdir", at(""), "base64"],
    ["writeFile", at("x".repeat(255)), "long"],
    ["writeFile", at("x".repeat(256)), "too long"],
    ["mkdir", at("a b")],
    ["stat", at("a b/")],
    ["stat", at("a b/../ü")],
    ["stat", at("ü/")],
  ],
  "wrong arguments are told by their codes": [
    ["writeFile", at("f"), "f"],
    ["readFile", 5.5],
    ["readFile", null],
    ["readFile", {}],
    ["readFile", at("f"), "no such encoding"],
    ["readFile", at("f"), { flag: "no such flag" }],
    ["readFile", "with\0null"],
    ["writeFile", at("f"), 5],
    ["writeFile", at("f"), {}],
    ["writeFile", at("f"), null],
    ["writeFile", at("f"), "f", { flush: 1 }],
    ["mkdir", at("d"), { recursive: "yes" }],
    ["mkdir", at("d"), { mode: "9" }],
    ["chmod", at("f"), {}],
    ["chmod", at("f"), "rwx"],
    ["chown", at("f"), "root", 0],
    ["chown", at("f"), 0, -2],
    ["rename", at("f")],
    ["link", at("f"), 7],
    ["symlink", 7, at("f")],
    ["truncate", at("f"), "3"],
    ["truncate", at("f"), 1.5],
    ["rm", at("f"), { force: 1 }],
    ["cp", at("f"), at("g"), { recursive: 1 }],
    ["cp", at("f"), at("g"), { filter: 5 }],
    ["cp", at("f"), at("g"), { dereference: true, verbatimSymlinks: true }],
    ["copyFile", at("f"), at("g"), 99],
    ["access", at("f"), "r"],
    ["utimes", at("f"), {}, 1],
    ["mkdtemp", 5],
    ["readdir", at(""), "no such encoding"],
    ["open", at("f"), "no such flag"],
    ["open", at("f"), "r", "not octal"],
    ["close", "x"],
    ["close", -1],
    ["close", 999_999],
    ["fstat", 999_999],
    ["fsync", 1.5],
    ["read", 999_999, Buffer.alloc(1), 0, 1, 0],
  ],
};

/** Where the two do not answer alike. */
async function differences(
  volume: Target,
  node: Target,
  form: Form,
  calls: readonly Call[],
): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const [name, ...args] of calls) {
    if (!hasForm(name, form)) continue;
    const expected = await outcome(node, form, name, args);
    const actual = await outcome(volume, form, name, args);
    if (!isDeepStrictEqual(actual, expected))
      found.push({ call: [name, ...args], actual, expected });
  }
  return found;
}

describe.each([...volumeKinds, ...blockPointerKinds])("$name", (kind) => {
  describe.each(forms)("%s", (form) => {
    test.each(Object.entries(programs))("%s", async (_what, calls) => {
      using directory = temporaryDirectory();
      using made = kind.make();
      const { fs } = made.volume;
      fs.mkdirSync("/root");
      const root = directory.file("root");
      nodeFs.mkdirSync(root);
      const [volume, node] = [
        { fs, root: "/root" },
        { fs: nodeFs, root },
      ];
      expect(await differences(volume, node, form, calls)).toEqual([]);
      expect(made.closeAndCheck()).toBe("");
    });
  });
});

test("paths may be bytes and URLs", () => {
  using made = volumeKinds[0]!.make();
  const { fs } = made.volume;
  fs.writeFileSync(Buffer.from("/bytes"), "b");
  expect(fs.readFileSync(pathToFileURL("/bytes"), "utf8")).toBe("b");
  expect(fs.readFileSync(Buffer.from("/bytes"), "utf8")).toBe("b");
});
