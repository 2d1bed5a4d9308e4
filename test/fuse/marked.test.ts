// Files that are marked immutable or append-only while programs, and this process, have them open: what they may do then
// is what the kernel's ext4 lets them do.

import { expect } from "vitest";
import { loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { Mounted, needs } from "./mounted.ts";
import { endShared, makeShared, mountInKernel, shellIn } from "./shared.ts";

const SIZE = 32 * 2 ** 20;
const it = skipUnless(...needs, "loop mounts", "chattr");

/** Of the modes of fallocate, those that the kernel passes on to a FUSE server. */
const MODES = {
  allocate: 0,
  "keep-size": 1,
  "punch-hole": 3,
  "zero-range": 16,
  "zero, keep-size": 17,
};

/** A program that opens a file, marks it, and prints how each of these calls ends. */
const PROGRAM = `
import ctypes, errno, json, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def fallocate(fd, mode):
    if libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(4096)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")
answers = []
def call(what, action):
    try:
        answers.append([what, action()])
    except OSError as error:
        answers.append([what, errno.errorcode[error.errno]])
for mark in ["i", "a"]:
    name = "file-" + mark
    fd = os.open(name, os.O_CREAT | os.O_RDWR)
    end = os.open(name, os.O_WRONLY | os.O_APPEND)
    other = os.open("other", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"x" * 8192)
    os.write(other, b"y" * 8192)
    os.fsync(fd)
    subprocess.run(["chattr", "+" + mark, name], check=True)
    call("write", lambda: os.pwrite(fd, b"abc", 0))
    call("append", lambda: os.write(end, b"abc"))
    call("truncate", lambda: os.ftruncate(fd, 100))
    for what, mode in json.loads(sys.argv[1]).items():
        call(what, lambda: fallocate(fd, mode))
    call("copy to it", lambda: os.copy_file_range(other, fd, 10, 0, 0))
    call("copy from it", lambda: os.copy_file_range(fd, other, 10, 0, 0))
    call("set its time", lambda: os.utime(fd, (5, 5)))
    call("fsync", lambda: os.fsync(fd))
    subprocess.run(["chattr", "-" + mark, name], check=True)
    call("write again", lambda: os.pwrite(fd, b"abc", 0))
    with open(name) as file:
        answers.append(["content", file.read()])
print(json.dumps(answers))
`;

const answers = (directory: string): unknown =>
  JSON.parse(
    runOk("python3", [
      "-c",
      `import os; os.chdir("${directory}")\n${PROGRAM}`,
      JSON.stringify(MODES),
    ]),
  );

it("files that programs have open take what the kernel's ext4 lets them take", () => {
  using mounted = new Mounted(SIZE);
  const actual = mounted.with(answers);
  using image = new Mounted(SIZE);
  using place = temporaryDirectory();
  using kernel = loopMount(image.image, place.path);
  expect(actual).toEqual(answers(kernel.directory));
});

it("with writeback, what was written before is kept, whatever is written since", () => {
  using mounted = new Mounted(SIZE);
  const script = `
    exec 3>>file; printf before >&3; chattr +i file; sync file; printf " after" >&3; chattr -i file`;
  mounted.with((directory) => runOk("sh", ["-ec", `cd ${directory};${script}`]), "-o", "writeback");
  const content = mounted.with((directory) => runOk("cat", [`${directory}/file`]));
  expect(content.startsWith("before")).toBe(true);
});

it("so do those that this process has open", async () => {
  const shared = await makeShared(SIZE);
  const { volume, place } = shared;
  {
    await using _mount = await mountInKernel(volume, place.path);
    const expected = { i: "EPERM", a: "done" };
    for (const mark of ["i", "a"] as const) {
      await using handle = await volume.open(`/${mark}`, "w+");
      await handle.write(Buffer.alloc(8192), 0);
      await shellIn(place.path, `chattr +${mark} ${mark}`);
      const codeOf = (action: () => Promise<unknown>): Promise<string> =>
        action().then(
          () => "done",
          (error) => error.code,
        );
      const adding = [
        () => handle.write(Buffer.from("abc"), 0),
        async () => handle.writeSync(Buffer.from("abc"), 0),
        () => handle.fallocate("allocate", 0, 4096),
        () => handle.fallocate("keep-size", 0, 4096),
      ];
      for (const action of adding) expect(await codeOf(action)).toBe(expected[mark]);
      const others = [
        () => handle.truncate(5),
        () => handle.writeFile("other"),
        () => handle.fallocate("punch-hole", 0, 4096),
        () => handle.fallocate("zero-range", 0, 4096),
        () => handle.fallocate("collapse-range", 0, 4096),
      ];
      for (const action of others) expect(await codeOf(action)).toBe("EPERM");
      await shellIn(place.path, `chattr -${mark} ${mark}`);
      await handle.writeFile("other");
      expect(await volume.readFile(`/${mark}`, "utf8")).toBe("other");
    }
  }
  await endShared(shared);
});
