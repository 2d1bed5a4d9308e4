// A volume that this process and, through the kernel, programs use at the same time. Threads of this process serve the
// mount: they are started from the built modules, so the volume is made by those, too.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "vitest";
import type { MountOptions, Volume } from "../../src/index.ts";
import {
  builtModule,
  e2fsckClean,
  mkfsExt4,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";

const { mount, mountRam } = (await import(
  builtModule("index.ts").href
)) as typeof import("../../src/index.ts");
const { mountInKernel } = (await import(
  builtModule("fuse/index.ts").href
)) as typeof import("../../src/fuse/index.ts");

export { mount, mountInKernel, mountRam };

/** A new ext4 volume, and where it is to be mounted. */
export interface Shared {
  readonly scratch: TemporaryDirectory;
  readonly place: TemporaryDirectory;
  readonly volume: Volume;
}

export async function makeShared(sizeBytes: number, options?: MountOptions): Promise<Shared> {
  const [scratch, place] = [temporaryDirectory(), temporaryDirectory()];
  mkfsExt4(scratch.file("image"), sizeBytes, ["-b", "4096"]);
  return { scratch, place, volume: await mount(scratch.file("image"), options) };
}

/** After the unmount: closes it, and has e2fsck look at what is left. */
export async function endShared({ scratch, place, volume }: Shared): Promise<void> {
  await volume.close();
  expect(e2fsckClean(scratch.file("image"))).toMatchObject({ clean: true });
  place[Symbol.dispose]();
  scratch[Symbol.dispose]();
}

/** What a shell command prints that runs in a directory. */
export async function shellIn(directory: string, script: string): Promise<string> {
  const options = { cwd: directory, encoding: "utf8", maxBuffer: 2 ** 26 } as const;
  return (await promisify(execFile)("sh", ["-ec", script], options)).stdout;
}
