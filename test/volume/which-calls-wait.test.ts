// Which calls wait for a page that an I/O references: the table that was measured on Linux's FS-DAX, call by
// call, for ours (docs/protocol.md prints both). A layout change waits for pages whose blocks it changes, and
// for no others; nothing that leaves blocks alone waits at all; what ends a file's use puts off what it would
// free.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { FileHandle, FilePin, Volume } from "../../src/index.ts";
import { type TestVolume, volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const PAGES = 256;
/** The page that is pinned. */
const HELD = 128;
const AT = HELD * PAGE;
/** Between two looks at whether a call has ended, or waits. */
const LOOK_MS = 2;
/** What every byte of the file is before a call, and what its I/O stores late. */
const BEFORE = 0x11;
const LATE = 0x22;

interface Held {
  readonly made: TestVolume;
  readonly volume: Volume;
  readonly file: FileHandle;
  readonly pin: FilePin;
}

function hold(kind: (typeof volumeKinds)[number]): Held & Disposable {
  const made = kind.make();
  const file = made.volume.openSync("/file", "w+");
  file.writeFileSync(new Uint8Array(PAGES * PAGE).fill(BEFORE));
  const pin = file.pinSync(AT, PAGE, { write: true });
  return {
    made,
    volume: made.volume,
    file,
    pin,
    [Symbol.dispose]() {
      pin.release();
      file.closeSync();
      expect(made.volume.statistics().pinsHeld).toBe(0);
      expect(made.closeAndCheck()).toBe("");
      made[Symbol.dispose]();
    },
  };
}

/** Whether the call waits for the pin, or ends. Then the I/O ends, and the call must end, too. */
async function waits({ pin, volume }: Held, call: () => unknown): Promise<boolean> {
  let ended = false;
  const before = volume.statistics().breakWaits;
  const running = (async () => {
    await call();
    ended = true;
  })();
  const hasBegunToWait = (): boolean => volume.statistics().breakWaits > before;
  while (!ended && !hasBegunToWait()) await Promise.race([running, sleep(LOOK_MS)]);
  const waited = !ended;
  for (const buffer of pin.buffers) buffer.fill(LATE);
  pin.release();
  await running;
  return waited;
}

type Call = (held: Held) => unknown;

const changesOfThePage: Record<string, Call> = {
  "truncate to 0": ({ file }) => file.truncate(0),
  "truncate just below the page": ({ file }) => file.truncate(AT),
  "truncate inside the page": ({ file }) => file.truncate(AT + 100),
  "punch the page": ({ file }) => file.fallocate("punch-hole", AT, PAGE),
  "punch a part of the page": ({ file }) => file.fallocate("punch-hole", AT + 100, 200),
  "zero the page": ({ file }) => file.fallocate("zero-range", AT, PAGE),
  "collapse before the page": ({ file }) => file.fallocate("collapse-range", 0, PAGE),
  "collapse the page": ({ file }) => file.fallocate("collapse-range", AT, PAGE),
  "insert before the page": ({ file }) => file.fallocate("insert-range", 0, PAGE),
  "open with O_TRUNC": async ({ volume }) => (await volume.open("/file", "w")).close(),
  "write the whole file anew": ({ volume }) => volume.writeFile("/file", "short"),
};

const changesElsewhere: Record<string, Call> = {
  "truncate just above the page": ({ file }) => file.truncate(AT + PAGE),
  "truncate that extends": ({ file }) => file.truncate(2 * PAGES * PAGE),
  "punch elsewhere": ({ file }) => file.fallocate("punch-hole", 0, AT),
  "zero elsewhere": ({ file }) => file.fallocate("zero-range", AT + PAGE, PAGE),
  "collapse after the page": ({ file }) => file.fallocate("collapse-range", AT + PAGE, PAGE),
  "insert after the page": ({ file }) => file.fallocate("insert-range", AT + PAGE, PAGE),
  "allocate beyond the end": ({ file }) => file.fallocate("allocate", PAGES * PAGE, PAGE),
  "write into a hole": ({ file }) => file.write(new Uint8Array(PAGE), 2 * PAGES * PAGE),
};

const others: Record<string, Call> = {
  "read the page": ({ file }) => file.read(new Uint8Array(PAGE), AT),
  "write the page": ({ file }) => file.write(new Uint8Array(PAGE), AT),
  fsync: ({ file }) => file.sync(),
  sync: ({ volume }) => volume.sync(),
  fstat: ({ file }) => file.stat(),
  "pin the page again": async ({ file }) => (await file.pin(AT, PAGE)).release(),
  "map and touch the page, unmap": ({ file }) => {
    using window = file.map();
    expect(window.bytes[AT + 1]).toBe(BEFORE);
  },
  rename: ({ volume }) => volume.rename("/file", "/renamed"),
  unlink: ({ volume }) => volume.unlink("/file"),
  "close of the last handle": ({ file }) => file.close(),
  "unlink, and close of the last handle": async ({ volume, file }) => {
    await volume.unlink("/file");
    await file.close();
  },
};

describe.each(volumeKinds.filter(({ mappable }) => mappable))(
  "$name: with a page pinned,",
  (kind) => {
    test.each(Object.entries(changesOfThePage))("%s waits for its I/O", async (_name, call) => {
      using held = hold(kind);
      expect(await waits(held, () => call(held))).toBe(true);
    });

    test.each(Object.entries({ ...changesElsewhere, ...others }))(
      "%s waits for nothing",
      async (_name, call) => {
        using held = hold(kind);
        expect(await waits(held, () => call(held))).toBe(false);
      },
    );

    test.each([
      "truncate inside the page",
      "collapse the page",
      "collapse before the page",
      "insert before the page",
    ])("what the late I/O of '%s' stored is in the file, or gone with its page", async (name) => {
      using held = hold(kind);
      await waits(held, () => changesOfThePage[name]!(held));
      const bytes = held.file.readFileSync();
      const late = [...bytes.keys()].filter((at) => bytes[at] === LATE);
      const expected = {
        "truncate inside the page": [AT, 100],
        "collapse the page": [0, 0],
        "collapse before the page": [AT - PAGE, PAGE],
        "insert before the page": [AT + PAGE, PAGE],
      }[name]!;
      expect([late[0] ?? 0, late.length]).toEqual(expected);
    });

    test("a window shows the page, and stores through it go on, while a truncate waits", async () => {
      using held = hold(kind);
      using window = held.file.map();
      window.bytes[AT] = 1;
      const before = held.volume.statistics().breakWaits;
      const truncate = held.file.truncate(0);
      while (held.volume.statistics().breakWaits === before) await sleep(LOOK_MS);
      window.bytes[AT + 1] = 2;
      expect([...held.pin.buffers[0]!.subarray(0, 3)]).toEqual([1, 2, BEFORE]);
      expect(held.file.readSync(new Uint8Array(1), 0)).toBe(1);
      held.pin.release();
      await truncate;
      expect(window.bytes[AT]).toBe(0);
      expect(window.lost).not.toBe(null);
    });

    test("an aborted wait leaves the file as it was, its windows too", async () => {
      using held = hold(kind);
      using window = held.file.map();
      await expect(
        held.volume.open("/file", "w", undefined, { timeoutMs: 20 }),
      ).rejects.toMatchObject({ code: "ETIMEDOUT" });
      for (const mode of ["punch-hole", "zero-range", "collapse-range", "insert-range"] as const) {
        const call = held.file.fallocate(mode, AT, PAGE, { timeoutMs: 20 });
        await expect(call).rejects.toMatchObject({ code: "ETIMEDOUT" });
      }
      await expect(held.file.truncate(0, { timeoutMs: 20 })).rejects.toThrow(
        /pages 128 to 128 by thread/,
      );
      expect(held.file.readFileSync()).toEqual(new Uint8Array(PAGES * PAGE).fill(BEFORE));
      expect(window.bytes[AT]).toBe(BEFORE);
    });

    test("unmounting is refused, and says why, until the page is released", () => {
      using held = hold(kind);
      held.file.closeSync();
      expect(() => held.volume.closeSync()).toThrow(
        expect.objectContaining({ code: "EBUSY", message: expect.stringMatching(/1 pin/) }),
      );
      for (const buffer of held.pin.buffers) buffer.fill(LATE);
      held.pin.release();
      held.made.remount();
      const bytes = held.made.volume.readFileSync("/file");
      expect([bytes[AT - 1], bytes[AT], bytes[AT + PAGE]]).toEqual([BEFORE, LATE, BEFORE]);
    });

    test("the block of a file that is gone stays its own until the release: no other file gets it", () => {
      using held = hold(kind);
      const { volume, file, pin } = held;
      volume.unlinkSync("/file");
      file.closeSync();
      const filler = volume.openSync("/filler", "w+");
      const chunk = new Uint8Array(16 * PAGE).fill(0xee);
      for (let at = 0; ; ) {
        const written = writeUntilFull(filler, chunk, at);
        if (written === 0) break;
        at += written;
      }
      expect(pin.verify()).toBe(true);
      expect(pin.buffers[0]!.every((byte) => byte === BEFORE)).toBe(true);
      pin.buffers[0]!.fill(LATE); // the I/O that ends late
      const bytes = filler.readFileSync();
      expect(bytes.every((byte) => byte === 0xee)).toBe(true);
      const before = volume.statfsSync().bfree;
      pin.release();
      expect(volume.statfsSync().bfree).toBeGreaterThanOrEqual(before + PAGES);
      filler.closeSync();
    });
  },
);

function writeUntilFull(file: FileHandle, chunk: Uint8Array, at: number): number {
  try {
    return file.writeSync(chunk, at);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOSPC") return 0;
    throw error;
  }
}
