// Link counts at their limits.

import { expect, test } from "vitest";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

test("a directory with 65,000 links stops counting, and goes on taking directories", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 256 * 1024 * 1024, ["-b", "1024", "-N", "70000"]);
  const image = new DirectoryImage(path, 2 ** 30);
  const ino = image.create(rootIno, "d", newInode("directory"));
  const linkCount = () => image.driver.readInode(ino).linkCount;
  for (let index = 0; index < 64_997; index++) {
    image.create(ino, `sub ${index}`, newInode("directory"));
  }
  expect(linkCount()).toBe(64_999);
  image.create(ino, "one more", newInode("directory"));
  expect(linkCount()).toBe(1);
  image.create(ino, "and another", newInode("directory"));
  for (let index = 0; index < 30; index++) image.unlink(ino, `sub ${index}`);
  image.rename(ino, "one more", rootIno, "up");
  image.rename(rootIno, "up", ino, "down");
  expect(linkCount()).toBe(1);
  image.close();
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
});

test("a file has at most 65,000 names, and the next is refused with EMLINK", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 64 * 1024 * 1024, ["-b", "4096"]);
  const image = new DirectoryImage(path, 2 ** 30);
  const file = image.create(rootIno, "0", newInode("file"));
  for (let index = 1; index < 65_000; index++) image.link(rootIno, `${index}`, file);
  expect(errorOf(() => image.link(rootIno, "one more", file))?.code).toBe("EMLINK");
  expect(image.find(rootIno, "one more")).toBe(null);
  image.unlink(rootIno, "77");
  image.link(rootIno, "one more", file);
  image.close();
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
});
