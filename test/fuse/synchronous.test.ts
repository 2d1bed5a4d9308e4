// Mounts by sync and dirsync: what a program has changed is durable when it is told so. A copy of the image, made at once,
// is what a server would leave that dies then: nothing else is persisted here.

import { copyFileSync } from "node:fs";
import { describe, expect } from "vitest";
import type { Volume } from "../../src/index.ts";
import { skipUnless } from "../support/tools.ts";
import { needs as mountNeeds } from "./mounted.ts";
import { endShared, makeShared, mount, mountInKernel, shellIn } from "./shared.ts";

const it = skipUnless(...mountNeeds, "chattr");
const SIZE = 16 * 2 ** 20;

type Options = Parameters<typeof mountInKernel>[2];

/** Has a program make each change, and looks at what is durable then. */
async function changing(
  options: Options,
  changes: readonly string[],
  look: (durable: Volume, change: number) => Promise<void>,
): Promise<void> {
  const shared = await makeShared(SIZE, { commitSeconds: 0 });
  const copy = shared.scratch.file("copy");
  {
    await using _mount = await mountInKernel(shared.volume, shared.place.path, options);
    for (const [index, change] of changes.entries()) {
      await shellIn(shared.place.path, `python3 -c "import os; ${change}"`);
      copyFileSync(shared.scratch.file("image"), copy);
      await using durable = await mount(copy);
      await look(durable, index);
    }
  }
  await endShared(shared);
}

/** Changes of names, and what there is then. */
const NAMES = [
  ["os.mkdir('d')", "d"],
  ["os.symlink('target', 's')", "d s"],
  ["os.mkfifo('p')", "d p s"],
  ["os.open('f', os.O_CREAT)", "d f p s"],
  ["os.link('f', 'g')", "d f g p s"],
  ["os.rename('d', 'e')", "e f g p s"],
  ["os.rmdir('e')", "f g p s"],
  ["os.unlink('p')", "f g s"],
] as const;

const open = "fd = os.open('f', os.O_CREAT | os.O_RDWR);";
const size = async (on: Volume): Promise<number> => (await on.stat("/f")).size;
const content = (path: string) => (on: Volume) => on.readFile(path, "utf8");
const writes = (on: Volume): Promise<string> =>
  on.writeFile("/f", "").then(
    () => "written",
    (error) => error.code,
  );
/** Other changes, and what they leave. */
const CHANGES: readonly (readonly [string, (on: Volume) => Promise<unknown>, unknown])[] = [
  [`${open} os.write(fd, b'text')`, content("/f"), "text"],
  [`${open} os.ftruncate(fd, 2)`, content("/f"), "te"],
  ["os.truncate('f', 1)", content("/f"), "t"],
  ["os.open('f', os.O_RDWR | os.O_TRUNC)", size, 0],
  ["os.chmod('f', 0o604)", async (on) => (await on.stat("/f")).mode & 0o777, 0o604],
  ["os.chown('f', 7, 8)", async (on) => (await on.stat("/f")).gid, 8],
  ["os.setxattr('f', 'user.a', b'1')", (on) => on.listxattr("/f"), ["user.a"]],
  ["os.removexattr('f', 'user.a')", (on) => on.listxattr("/f"), []],
  ["os.system('chattr +i f')", writes, "EPERM"],
  ["os.system('chattr -i f')", writes, "written"],
  [`${open} os.posix_fallocate(fd, 0, 8192)`, size, 8192],
  [`${open} os.pwrite(fd, b'more', 8192)`, size, 8196],
  [
    `${open} g = os.open('g', os.O_CREAT | os.O_RDWR); os.copy_file_range(fd, g, 4, 8192)`,
    content("/g"),
    "more",
  ],
];

/** As in CHANGES, by files opened with O_DSYNC, where the mount does not promise it. */
const openSynced = open.replace("O_RDWR", "O_RDWR | os.O_DSYNC");
const CHANGES_OF_SYNCED: typeof CHANGES = [
  [`${openSynced} os.write(fd, b'text')`, content("/f"), "text"],
  [`${openSynced} os.posix_fallocate(fd, 0, 8192)`, size, 8192],
  [
    `${openSynced.replace("'f'", "'g'")} os.copy_file_range(os.open('f', os.O_RDONLY), fd, 4)`,
    content("/g"),
    "text",
  ],
];

describe.each([{ alone: true }, { alone: false }])("%j", (regime) => {
  it("dirsync: each change of a name is durable", async () => {
    const changes = NAMES.map(([change]) => change);
    await changing({ ...regime, synchronous: "names" }, changes, async (durable, index) => {
      const names = (await durable.readdir("/")).filter((name) => name !== "lost+found");
      expect(names.sort().join(" ")).toBe(NAMES[index]?.[1]);
    });
  });

  it.each([
    ["sync: so is each other change", "all", CHANGES],
    ["O_DSYNC: what is written, allocated or copied by the file is", "nothing", CHANGES_OF_SYNCED],
  ] as const)("%s", async (_, synchronous, made) => {
    const changes = made.map(([change]) => change);
    await changing({ ...regime, synchronous }, changes, async (durable, index) => {
      const [change, look, left] = made[index]!;
      expect([change, await look(durable)]).toEqual([change, left]);
    });
  });
});

it("writeback and sync: what is written is durable all the same", async () => {
  const options = { alone: true, writeback: true, synchronous: "all" } as const;
  const changes = [`${open} os.write(fd, b'text')`];
  await changing(options, changes, async (durable) => {
    expect(await durable.readFile("/f", "utf8")).toBe("text");
  });
});
