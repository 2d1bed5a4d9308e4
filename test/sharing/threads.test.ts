// Threads that write, pin, map, cut and clone files which share their blocks: nobody ever finds in a file
// what was written to another one.

import { expect, test } from "vitest";
import { startRunner } from "../volume/threads.ts";
import { ram } from "../volume/volumes.ts";

const PAGE = 4096;
const PAGES = 16;

/**
 * Until the time is up: has `/own-letter` be a clone of `/base` again, then writes its letter to pages of
 * it in every way, and looks whether it holds anything but that and the base's bytes.
 */
async function churn(
  volume: import("../../src/index.ts").Volume,
  _kept: unknown,
  letter: string,
  milliseconds: number,
  pageSize: number,
  pages: number,
): Promise<number> {
  const base = volume.openSync("/base", "r");
  const path = `/own-${letter}`;
  volume.writeFileSync(path, "");
  const file = volume.openSync(path, "r+");
  const view = file.map({ length: pages * pageSize, writable: true });
  const reader = file.map({ length: pages * pageSize, writable: false });
  const mine = letter.charCodeAt(0);
  const page = new Uint8Array(pageSize).fill(mine);
  const end = Date.now() + milliseconds;
  const check = (where: string, bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length; at += 512) {
      const found = bytes[at]!;
      if (found === 0 || found === 98 || found === mine) continue;
      throw new Error(`${where} of ${path} has ${String.fromCharCode(found)} at byte ${at}`);
    }
  };
  let turns = 0;
  for (let seed = mine; Date.now() < end; turns++) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    const index = (seed >>> 8) % pages;
    const offset = index * pageSize;
    switch ((seed >>> 16) % 8) {
      case 0:
        await file.cloneRange(base);
        break;
      case 1:
        file.cloneRangeSync(base, { sourceOffset: offset, offset, length: pageSize });
        break;
      case 2:
        file.writeSync(page, offset);
        break;
      case 3:
        if (file.statSync().size > offset) view.bytes.fill(mine, offset, offset + pageSize);
        break;
      case 4:
        if (file.statSync().size > offset) {
          const pin = await file.pin(offset, pageSize, { write: true });
          for (const buffer of pin.buffers) buffer.fill(mine);
          pin.release();
        }
        break;
      case 5:
        if (file.statSync().size > offset) {
          const pin = await file.pin(offset, pageSize);
          for (const buffer of pin.buffers) check("a pin", buffer);
          pin.release();
        }
        break;
      case 6:
        file.fallocateSync("punch-hole", offset, 3 * pageSize);
        break;
      default:
        file.truncateSync(offset + 100);
    }
    check("a read", file.readFileSync());
    check("a window", reader.bytes.subarray(0, Math.min(file.statSync().size, pages * pageSize)));
    const bytes = base.readFileSync();
    for (let at = 0; at < bytes.length; at += 512) {
      if (bytes[at] !== 98) throw new Error(`/base has ${bytes[at]} at byte ${at}`);
    }
  }
  view.close();
  reader.close();
  file.closeSync();
  base.closeSync();
  return turns;
}

test("threads that write to clones of one file find their own bytes and the file's, no others", async () => {
  using kept = ram.make(4 * 2 ** 20);
  const { volume } = kept;
  for (const name of ["/other", "/own-x", "/own-y", "/own-z"]) volume.writeFileSync(name, "");
  const before = volume.statfsSync().bfree;
  volume.writeFileSync("/base", new Uint8Array(PAGES * PAGE).fill("b".charCodeAt(0)));
  {
    await using one = await startRunner(volume.share());
    await using two = await startRunner(volume.share());
    const turns = await Promise.all(
      [one, two].map((runner, at) => runner.run(churn, "xy"[at]!, 3000, PAGE, PAGES)),
    );
    for (const count of turns) expect(count).toBeGreaterThan(10);
    // A third one dies in the middle; the others go on.
    const dying = await startRunner(volume.share());
    const died = dying.run(churn, "z", 60_000, PAGE, PAGES).catch((error: Error) => error.message);
    const last = one.run(churn, "x", 1500, PAGE, PAGES);
    setTimeout(() => void dying.terminate(), 700);
    expect(await died).toBe("the worker has ended");
    expect(await last).toBeGreaterThan(5);
    await one.run((inner) => inner.close());
    await two.run((inner) => inner.close());
  }
  for (const path of ["/own-x", "/own-y", "/own-z", "/base"]) volume.unlinkSync(path);
  // Whoever waits gives back what the dead thread held; here for a pin of its own.
  using other = volume.openSync("/other", "r+");
  other.writeSync(new Uint8Array(PAGE), 0);
  const pin = other.pinSync(0, PAGE);
  const late = expect.objectContaining({ code: "ETIMEDOUT" });
  expect(() => other.truncateSync(0, { timeoutMs: 50 })).toThrow(late);
  pin.release();
  other.truncateSync(0);
  expect(volume.statistics().blocksShared).toBe(0);
  expect(volume.statistics().pinsHeld).toBe(0);
  for (const name of ["/own-x", "/own-y", "/own-z"]) volume.writeFileSync(name, "");
  expect(volume.statfsSync().bfree).toBe(before);
}, 60_000);
