import { describe, expect, it, vi } from "vitest";
import type { FailedPages } from "../../src/device/failure-events.ts";
import { createFailureEvents } from "../../src/device/failure-events.ts";
import { type Device, memoryDevice } from "../../src/device/index.ts";
import { createReleasedRanges } from "../../src/device/released.ts";
import { DeviceState } from "../../src/device/state.ts";
import { Region } from "../../src/sync/region.ts";
import { Thread } from "../../src/sync/thread.ts";

const PAGE = 4096;

/** A device that two threads of a region use; both are this one, really. */
function twoUsers(): { first: Device; second: Device; threads: readonly Thread[] } & Disposable {
  const region = Region.create(2 ** 24);
  const threads = [Thread.join(region), Thread.join(region)];
  DeviceState.create(threads[0]!);
  createFailureEvents(threads[0]!);
  createReleasedRanges(threads[0]!);
  const [first, second] = [memoryDevice(16 * PAGE), memoryDevice(16 * PAGE)];
  first.useState(threads[0]!);
  second.useState(threads[1]!);
  return {
    first,
    second,
    threads,
    [Symbol.dispose]: () => {
      for (const device of [first, second]) {
        device.failures.end();
        device.close();
      }
      for (const thread of threads) thread.leave();
    },
  };
}

const silent = { onFailure: () => {}, onRemoval: () => {} };
const busy = (name: string) =>
  expect.objectContaining({ code: "EBUSY", message: expect.stringContaining(`held by ${name} (`) });
const gone = expect.objectContaining({
  code: "EIO",
  message: expect.stringContaining("the device was removed (test)"),
});

describe("the holder of a device inside the process", () => {
  it("is one: a second claim is refused with its name, until the release", () => {
    using users = twoUsers();
    const claim = users.first.claim("the first, größer", silent);
    expect(() => users.second.claim("the second", silent)).toThrow(busy("the first, größer"));
    expect(() => users.first.claim("the first again", silent)).toThrow(busy("the first, größer"));
    claim[Symbol.dispose]();
    claim[Symbol.dispose]();
    const next = users.second.claim("the second", silent);
    claim[Symbol.dispose]();
    expect(() => users.first.claim("the first", silent)).toThrow(busy("the second"));
    next[Symbol.dispose]();
    users.first.claim("x".repeat(1000), silent)[Symbol.dispose]();
  });

  it("is told of failures until the release, and not of what comes after", async () => {
    using users = twoUsers();
    const told: FailedPages[] = [];
    const claim = users.first.claim("the holder", {
      ...silent,
      onFailure: (failed) => told.push(failed),
    });
    const failed = { reason: "poisoned", owner: null, devicePage: 3, pages: 2 } as const;
    users.second.failures.tell(failed);
    await vi.waitFor(() => expect(told).toEqual([failed]));
    claim[Symbol.dispose]();
    users.second.failures.tell(failed);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(told).toHaveLength(1);
  });

  it("is told of the removal by another thread, once, and can release afterwards", async () => {
    using users = twoUsers();
    const onRemoval = vi.fn();
    const claim = users.first.claim("the holder", { ...silent, onRemoval });
    expect(users.second.remove("test")).toBe(true);
    expect(users.first.remove("again")).toBe(false);
    expect(users.first.isGone).toBe(true);
    await vi.waitFor(() => expect(onRemoval).toHaveBeenCalledTimes(1));
    claim[Symbol.dispose]();
    expect(() => users.second.claim("the second", silent)).toThrow(gone);
    expect(onRemoval).toHaveBeenCalledTimes(1);
  });

  it("is told nothing of a removal after its release", async () => {
    using users = twoUsers();
    const onRemoval = vi.fn();
    users.first.claim("the holder", { ...silent, onRemoval })[Symbol.dispose]();
    users.second.remove("test");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(onRemoval).not.toHaveBeenCalled();
    expect(() => users.first.claim("the holder", silent)).toThrow(gone);
  });
});

describe("a device that was removed", () => {
  it("refuses what is asked of it, and its mapped bytes are zeroes of nobody", () => {
    using users = twoUsers();
    const { first } = users;
    first.copyIn(0, new Uint8Array(PAGE).fill(7));
    const view = first.bytes(0, PAGE);
    first.remove("test");
    expect(view[0]).toBe(7);
    first.discard();
    expect(view[0]).toBe(0);
    view[0] = 1; // goes nowhere
    expect(() => first.bytes(0, PAGE)).toThrow(gone);
    expect(() => first.persist(0, PAGE)).toThrow(gone);
    expect(() => first.persistAll()).toThrow(gone);
    first.close();
    expect(view[0]).toBe(0);
  });
});
