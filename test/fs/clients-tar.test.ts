// tar-stream unpacks a real tree, this project's sources, onto a volume, and packs it again from there.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { extract, pack } from "tar-stream";
import { describe, expect } from "vitest";
import { root } from "../../scripts/tree.js";
import type { VolumeFs } from "../../src/index.ts";
import { loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, volumeKinds } from "../volume/volumes.ts";

/** Unpacks an archive below a directory of the volume. */
async function unpack(fs: VolumeFs, archive: Buffer, top: string): Promise<number> {
  const entries = extract();
  const feeding = pipeline(Readable.from([archive]), entries);
  let count = 0;
  for await (const entry of entries) {
    const { name, type, mode, mtime, linkname } = entry.header;
    const path = `${top}/${name}`;
    count++;
    if (type === "directory") await fs.promises.mkdir(path, { recursive: true, mode: mode! });
    else if (type === "symlink") await fs.promises.symlink(linkname!, path);
    else await pipeline(entry, fs.createWriteStream(path, { mode: mode! }));
    entry.resume();
    if (type === "file") await fs.promises.utimes(path, mtime!, mtime!);
  }
  await feeding;
  return count;
}

/** Packs a directory of the volume. */
async function repack(fs: VolumeFs, top: string): Promise<Buffer> {
  const archive = pack();
  const bytes = buffer(archive);
  const entries = fs.readdirSync(top, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = `${entry.parentPath}/${entry.name}`;
    const { mode, size, mtime } = await fs.promises.lstat(path);
    const header = { name: path.slice(top.length + 1), mode: mode & 0o7777, mtime };
    if (entry.isDirectory()) archive.entry({ ...header, type: "directory" });
    else if (entry.isSymbolicLink()) {
      archive.entry({ ...header, type: "symlink", linkname: await fs.promises.readlink(path) });
    } else await pipeline(fs.createReadStream(path), archive.entry({ ...header, size }));
  }
  archive.finalize();
  return bytes;
}

describe.each([...volumeKinds, ...blockPointerKinds.slice(0, 1)])("$name", (kind) => {
  skipUnless(
    "tar",
    "diff",
    "loop mounts",
  )("tar-stream unpacks a tree and packs it again; nothing is different", async () => {
    using directory = temporaryDirectory();
    using place = temporaryDirectory();
    using made = kind.make(64 * 1024 * 1024);
    const { fs } = made.volume;
    const parts = ["src/volume", "src/drivers", "docs"];
    runOk("tar", ["-C", root, "-cf", directory.file("in.tar"), ...parts]);
    fs.mkdirSync("/tree/src", { recursive: true });
    const count = await unpack(fs, readFileSync(directory.file("in.tar")), "/tree");
    expect(count).toBeGreaterThan(readdirSync(`${root}/src/volume`).length);
    writeFileSync(directory.file("out.tar"), await repack(fs, "/tree"));
    mkdirSync(directory.file("out"));
    runOk("tar", ["-C", directory.file("out"), "-xf", directory.file("out.tar")]);
    for (const part of parts)
      runOk("diff", ["-r", `${root}/${part}`, `${directory.file("out")}/${part}`]);
    const image = made.image;
    expect(made.closeAndCheck()).toBe("");
    if (image === null) return;
    using mounted = loopMount(image, place.path, ["ro"]);
    for (const part of parts)
      runOk("diff", ["-r", `${root}/${part}`, `${mounted.directory}/tree/${part}`]);
  });
});
