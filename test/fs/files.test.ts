// Open files of the node:fs face, beside node:fs itself: descriptors, handles of promises, streams.

import * as nodeFs from "node:fs";
import { once } from "node:events";
import { buffer, text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, copiedKinds, volumeKinds } from "../volume/volumes.ts";
import { answerFacts, type AnyFs, errorFacts } from "./forms.ts";

const { constants } = nodeFs;

/** What `work` answers or throws, to be compared. */
async function told(work: () => unknown, root: string): Promise<unknown> {
  try {
    return { answer: answerFacts(await work(), root) };
  } catch (error) {
    return { error: errorFacts(error, root) };
  }
}

type Note = (work: () => unknown) => Promise<void>;

/** Each does something in `root` of a filesystem, and notes what comes of it. */
const stories: Readonly<Record<string, (fs: AnyFs, root: string, note: Note) => Promise<void>>> = {
  "a descriptor has a position, which reads and writes move": async (fs, root, note) => {
    const fd = fs.openSync(`${root}/f`, "w+");
    const memory = Buffer.alloc(8);
    await note(() => fs.writeSync(fd, "hello world"));
    await note(() => fs.readSync(fd, memory, 0, 8, null));
    await note(() => fs.readSync(fd, memory, 0, 8, 0));
    await note(() => memory);
    await note(() => fs.writeSync(fd, Buffer.from("HELLO"), 1, 3, 2));
    await note(() => fs.writeSync(fd, "!", null, "utf8"));
    await note(() => fs.readSync(fd, memory, { position: 4, length: 3, offset: 2 }));
    await note(() => memory);
    await note(() => fs.readSync(fd, memory, 7, 2, 0));
    await note(() => fs.readSync(fd, memory, 9, 0, 0));
    await note(() => fs.fstatSync(fd));
    await note(() => fs.ftruncateSync(fd, 4));
    await note(() => fs.readFileSync(fd, "utf8"));
    await note(() => fs.writeFileSync(fd, "more"));
    await note(() => fs.readFileSync(`${root}/f`));
    await note(() => fs.fsyncSync(fd));
    await note(() => fs.fdatasyncSync(fd));
    await note(() => fs.fchmodSync(fd, 0o640));
    await note(() => fs.futimesSync(fd, 10, 20));
    await note(() => fs.fstatSync(fd, { bigint: true }));
    await note(() => fs.closeSync(fd));
    await note(() => fs.closeSync(fd));
    await note(() => fs.readFileSync(`${root}/f`, "utf8"));
  },
  "how it is opened decides what may be done": async (fs, root, note) => {
    fs.writeFileSync(`${root}/f`, "abc");
    fs.mkdirSync(`${root}/d`);
    fs.symlinkSync("f", `${root}/s`);
    const memory = Buffer.alloc(2);
    for (const flags of [
      "r",
      "w",
      "a",
      "r+",
      "w+",
      "a+",
      "rs+",
      "as",
      "ax",
      "wx",
      "xw+",
      constants.O_RDWR,
    ]) {
      await note(() => {
        const fd = fs.openSync(`${root}/f`, flags);
        try {
          return fs.readSync(fd, memory, 0, 2, 0);
        } finally {
          fs.closeSync(fd);
        }
      });
      await note(() => {
        const fd = fs.openSync(`${root}/f`, flags);
        try {
          return fs.writeSync(fd, "xy", 0);
        } finally {
          fs.closeSync(fd);
        }
      });
      await note(() => fs.readFileSync(`${root}/f`, "utf8"));
    }
    const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } =
      constants;
    for (const [name, flags] of [
      ["d", O_RDONLY],
      ["d", O_DIRECTORY],
      ["d", O_WRONLY],
      ["d", O_RDWR | O_CREAT],
      ["f", O_DIRECTORY],
      ["f", O_NOFOLLOW],
      ["s", O_NOFOLLOW],
      ["s", O_NOFOLLOW | O_CREAT | O_RDWR],
      ["s", O_CREAT | O_EXCL | O_RDWR],
      ["s", O_TRUNC | O_RDWR],
      ["none", O_RDONLY],
      ["none/x", O_CREAT | O_RDWR],
    ] as const) {
      await note(() => fs.closeSync(fs.openSync(`${root}/${name}`, flags)));
    }
    await note(() => fs.readFileSync(`${root}/f`, "utf8"));
  },
  "several pieces of memory at once": async (fs, root, note) => {
    const fd = fs.openSync(`${root}/f`, "w+");
    const pieces = () => [Buffer.alloc(3), new Uint8Array(4), Buffer.alloc(10)];
    await note(() =>
      fs.writevSync(fd, [Buffer.from("one"), Buffer.from("two"), new Uint8Array([52])]),
    );
    await note(() => fs.writevSync(fd, [Buffer.from("X")], 1));
    const read = pieces();
    await note(() => fs.readvSync(fd, read, 0));
    await note(() => Buffer.concat(read));
    await note(() => fs.readvSync(fd, pieces()));
    await note(() => fs.readvSync(fd, "no"));
    await note(() => promisify(fs.readv)(fd, pieces(), 2));
    await note(() => promisify(fs.writev)(fd, [Buffer.from("end")], 20));
    await note(() => fs.readFileSync(`${root}/f`));
    await note(() => promisify(fs.read)(fd, { buffer: Buffer.alloc(4), position: 1 }));
    await note(() => promisify(fs.read)(fd, Buffer.alloc(4), 0, 4, 0));
    await note(() => promisify(fs.write)(fd, "text", 2));
    await note(() => promisify(fs.close)(fd));
    await note(() => promisify(fs.read)(fd, Buffer.alloc(4), 0, 4, 0));
  },
  "a handle of promises does all of it": async (fs, root, note) => {
    const handle = await fs.promises.open(`${root}/f`, "w+", 0o644);
    await note(() => handle.writeFile("hello world"));
    await note(() => handle.read(Buffer.alloc(5), 0, 5, 6));
    await note(() => handle.read({ buffer: Buffer.alloc(3), position: 1 }));
    await note(() => handle.write("HE", 0));
    await note(() => handle.write(Buffer.from("--ORLD"), 2, 4, 7));
    await note(() => handle.readv([Buffer.alloc(2), Buffer.alloc(2)], 0));
    await note(() => handle.writev([Buffer.from("!"), Buffer.from("?")], 11));
    await note(() => handle.appendFile("app"));
    await note(() => handle.stat());
    await note(() => handle.stat({ bigint: true }));
    await note(() => handle.truncate(5));
    await note(() => handle.chmod(0o600));
    await note(() => handle.utimes(1, 2));
    await note(() => handle.sync());
    await note(() => handle.datasync());
    await note(() => fs.promises.readFile(`${root}/f`, "utf8"));
    const closed = once(handle, "close");
    await note(() => handle.close());
    await closed;
    await note(() => handle.fd);
    await note(() => handle.stat());
    await note(() => handle.close());
    const lines: string[] = [];
    await fs.promises.writeFile(`${root}/lines`, "one\ntwo\r\nthree");
    for await (const line of (await fs.promises.open(`${root}/lines`)).readLines())
      lines.push(line);
    await note(() => lines.join("|"));
    const web = await fs.promises.open(`${root}/lines`);
    await note(async () => text(web.readableWebStream()));
    await note(() => web.close());
    const whole = await fs.promises.open(`${root}/lines`);
    await note(() => fs.promises.readFile(whole, "utf8"));
    await whole.close();
    const written = await fs.promises.open(`${root}/pieces`, "w");
    await note(() => fs.promises.writeFile(written, ["a", "b", Buffer.from("c")]));
    await written.close();
    await note(() => fs.promises.readFile(`${root}/pieces`, "utf8"));
    const parts = async function* () {
      yield "x";
      yield Buffer.from("y");
    };
    await note(() => fs.promises.writeFile(`${root}/pieces`, parts()));
    await note(() => fs.promises.readFile(`${root}/pieces`, "utf8"));
  },
  "streams read and write": async (fs, root, note) => {
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7) & 0xff));
    await note(async () => {
      await pipeline(
        [content.subarray(0, 100), content.subarray(100)],
        fs.createWriteStream(`${root}/f`),
      );
    });
    await note(async () => (await buffer(fs.createReadStream(`${root}/f`))).equals(content));
    await note(async () => buffer(fs.createReadStream(`${root}/f`, { start: 5, end: 9 })));
    await note(async () => text(fs.createReadStream(`${root}/f`, { encoding: "hex", end: 3 })));
    await note(async () => buffer(fs.createReadStream(`${root}/none`)));
    await note(async () => {
      const stream = fs.createWriteStream(`${root}/f`, { flags: "r+", start: 3 });
      stream.write("abc");
      stream.end();
      await once(stream, "close");
      return stream.bytesWritten;
    });
    await note(() => fs.readFileSync(`${root}/f`).subarray(0, 8));
    await note(async () => {
      await pipeline(fs.createReadStream(`${root}/f`), fs.createWriteStream(`${root}/g`));
      return fs.readFileSync(`${root}/g`).equals(fs.readFileSync(`${root}/f`));
    });
    const handle = await fs.promises.open(`${root}/f`, "r");
    await note(async () => buffer(handle.createReadStream({ start: 2, end: 4 })));
    await note(() => handle.fd);
    for (const options of [{ start: 1, end: 2 }, {}]) {
      const fd = await fs.promises.open(`${root}/f`, "r");
      await note(async () => buffer(fs.createReadStream(null, { fd, ...options })));
      await note(() => fd.fd);
    }
    const fd = await fs.promises.open(`${root}/f`, "r+");
    await note(() => pipeline(["xyz"], fs.createWriteStream(null, { fd })));
    await note(() => fd.fd);
    await note(async () => {
      const controller = new AbortController();
      const stream = fs.createReadStream(`${root}/f`, { signal: controller.signal });
      controller.abort();
      await buffer(stream);
    });
  },
  "directories are read entry by entry": async (fs, root, note) => {
    for (const name of ["a", "b", "c"]) fs.writeFileSync(`${root}/${name}`, "");
    fs.mkdirSync(`${root}/d`);
    await note(async () => {
      const found: unknown[] = [];
      for await (const entry of await fs.promises.opendir(root)) found.push(entry);
      return found;
    });
    await note(() => {
      const directory = fs.opendirSync(root);
      let count = 0;
      while (directory.readSync() !== null) count++;
      directory.closeSync();
      return count;
    });
    await note(() => {
      const directory = fs.opendirSync(root);
      directory.closeSync();
      directory.readSync();
    });
    fs.mkdirSync(`${root}/d/e`);
    fs.writeFileSync(`${root}/d/e/f`, "");
    await note(async () => {
      const found: unknown[] = [];
      for await (const entry of await fs.promises.opendir(root, { recursive: true })) {
        found.push(entry);
      }
      return found;
    });
    await note(() => fs.opendirSync(root, { bufferSize: 0 }));
    await note(() => fs.opendirSync(root, { bufferSize: "many" }));
    await note(() => fs.promises.opendir(`${root}/none`));
    await note(() => promisify(fs.opendir)(`${root}/a`));
  },
  "a tree is removed by several at once": async (fs, root, note) => {
    for (let at = 0; at < 20; at++) {
      fs.mkdirSync(`${root}/tree/${at}`, { recursive: true });
      fs.writeFileSync(`${root}/tree/${at}/f`, "");
    }
    const remove = () => fs.promises.rm(`${root}/tree`, { recursive: true, force: true });
    await note(() => Promise.all([remove(), remove(), remove()]));
    await note(() => fs.existsSync(`${root}/tree`));
  },
  "temporary directories, and answers where nothing is": async (fs, root, note) => {
    await note(() => fs.mkdtempSync(`${root}/t-`).length - root.length);
    await note(() => fs.mkdtempSync(`${root}/none/t-`));
    await note(() => fs.statSync(`${root}/none`, { throwIfNoEntry: false }));
    await note(() => fs.lstatSync(`${root}/none`, { throwIfNoEntry: false }));
    fs.writeFileSync(`${root}/file`, "");
    await note(() => fs.lstatSync(`${root}/file/none`, { throwIfNoEntry: false }));
    await note(() => fs.realpathSync.native(`${root}/none`));
    await note(() => promisify(fs.exists)(`${root}/none`));
    await note(() => fs.readFile(`${root}/none`));
    await note(() => fs.stat(`${root}/none`, {}, "no function"));
  },
  "an aborted call does nothing": async (fs, root, note) => {
    const signal = AbortSignal.abort();
    await note(() => fs.promises.writeFile(`${root}/f`, "x", { signal }));
    await note(() => fs.existsSync(`${root}/f`));
    await note(() => fs.promises.readFile(`${root}/f`, { signal: "no" }));
  },
};

describe.each([...volumeKinds, ...blockPointerKinds, ...copiedKinds])("$name", (kind) => {
  test.each(Object.entries(stories))("%s", async (_what, story) => {
    using directory = temporaryDirectory();
    using made = kind.make();
    const { fs } = made.volume;
    fs.mkdirSync("/root");
    const host = directory.file("root");
    nodeFs.mkdirSync(host);
    const noted = async (of: AnyFs, root: string): Promise<unknown[]> => {
      const notes: unknown[] = [];
      await story(of, root, async (work) => {
        notes.push(await told(work, root));
      });
      return notes;
    };
    expect(await noted(fs, "/root")).toEqual(await noted(nodeFs, host));
    expect(made.closeAndCheck()).toBe("");
  });
});

test("descriptors of the system are nobody's here, and are used again when they are closed", () => {
  using made = volumeKinds[0]!.make();
  const { fs } = made.volume;
  expect(() => fs.readFileSync(1)).toThrow(expect.objectContaining({ code: "EBADF" }));
  const first = fs.openSync("/f", "w");
  const second = fs.openSync("/f", "r");
  fs.closeSync(first);
  expect(fs.openSync("/f", "r")).toBe(first);
  expect(second).not.toBe(first);
});
