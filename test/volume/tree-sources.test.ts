// Trees that are read from volumes and from the host: what cannot be read is told, and nothing stays open for it.

import { readdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mountCoreSync } from "../../src/volume/mount.ts";
import { TarSource } from "../../src/volume/trees/source-tar.ts";
import { VolumeSource } from "../../src/volume/trees/source-volume.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const MIB = 2 ** 20;

skipUnless("mkfs.ext4", "debugfs")("files whose extents are damaged are told, and closed", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 16 * MIB);
  const names = ["a", "b", "c"];
  {
    using volume = mountCoreSync(image, {}).volume;
    for (const name of names) volume.writeFileSync(`/${name}`, Buffer.alloc(8192, 1));
  }
  for (const name of names) runOk("debugfs", ["-w", "-R", `sif /${name} block[0] 0`, image]);
  const mounted = mountCoreSync(image, { readOnly: true });
  using _volume = mounted.volume;
  const told: string[] = [];
  const onError = (error: unknown, path: string): void => {
    told.push(`${(error as { code: string }).code} ${path}`);
  };
  {
    using source = new VolumeSource(mounted, "/", { follow: true, links: true, onError });
    expect([...source.entries()]).toHaveLength(2); // the root, and lost+found
  }
  expect(told).toEqual(names.map((name) => `EUCLEAN ${name}`));
  expect(mounted.core.open.size).toBe(0);
});

test("what is no archive is refused by name, and closed", () => {
  using directory = temporaryDirectory();
  const missing = directory.file("missing.tar");
  expect(() => new TarSource(missing)).toThrow(
    `'${missing}' cannot be opened: no such file or directory`,
  );
  const odd = directory.file("odd.tar");
  writeFileSync(odd, "no archive");
  const before = readdirSync("/proc/self/fd").length;
  expect(() => new TarSource(odd)).toThrow(`'${odd}' is neither a directory nor a tar archive`);
  expect(() => new TarSource(directory.path)).toThrow(`'${directory.path}' is no file`);
  expect(readdirSync("/proc/self/fd").length).toBe(before);
});
