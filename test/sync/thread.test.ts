import { describe, expect, it } from "vitest";
import { load } from "../../src/sync/atomics.ts";
import { Region } from "../../src/sync/region.ts";
import { Thread } from "../../src/sync/thread.ts";
import { builtModule, run } from "../support/tools.ts";

describe("a thread's place in a region", () => {
  it("is taken, named, left and used again by another holder", () => {
    const region = Region.create(2 ** 24);
    const first = Thread.join(region);
    const second = Thread.join(region);
    expect(second.slot).not.toBe(first.slot);
    expect(second.isAlive(first.holder)).toBe(true);
    expect(first.describe(second.holder)).toMatch(/^thread \d+$/);
    const { holder, slot } = first;
    first.leave();
    expect(second.isAlive(holder)).toBe(false);
    const third = Thread.join(region);
    expect(third.slot).toBe(slot);
    expect(third.holder).not.toBe(holder);
    expect(second.reap()).toBe(0);
    third.leave();
    second.leave();
  });

  it("keeps its region in memory until it is left, and no longer", () => {
    // The C library chains the mutexes of a thread: a collected region in the chain ends the process.
    const program = `
      const { Region } = await import(${JSON.stringify(builtModule("sync/region.ts"))});
      const { Thread } = await import(${JSON.stringify(builtModule("sync/thread.ts"))});
      const collect = async () => {
        for (let turn = 0; turn < 5; turn++) {
          globalThis.gc();
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const left = (() => {
        const thread = Thread.join(Region.create(2 ** 26));
        thread.leave();
        return new WeakRef(thread.region.buffer);
      })();
      const held = (() => new WeakRef(Thread.join(Region.create(2 ** 26)).region.buffer))();
      await collect();
      console.log(left.deref() === undefined, held.deref() !== undefined);
    `;
    const child = run(process.execPath, ["--expose-gc", "--input-type=module", "-e", program]);
    expect(child.stdout.trim()).toBe("true true");
  });

  it("is refused in memory that is no region, or another version's", () => {
    const region = Region.create(2 ** 24);
    expect(load(region.words, 0)).not.toBe(0);
    expect(() => Region.attach(new SharedArrayBuffer(2 ** 20))).toThrow(/EINVAL.*not a region/);
    expect(() => Region.create(5)).toThrow(/EINVAL: regionBytes is 5/);
  });
});
