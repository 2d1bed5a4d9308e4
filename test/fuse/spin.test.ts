// How long a thread looks for a request before it sleeps for it, by a clock that the test moves.

import { describe, expect, it } from "vitest";
import { Spin } from "../../src/fuse/spin.ts";

/** Requests come `afterMs` each; a look takes `lookMs`. Answers, for each, whether it was found by looking. */
function serve(spin: Spin, clock: { ms: number }, afterMs: readonly number[], lookMs = 0.002) {
  return afterMs.map((after) => {
    const due = clock.ms + after;
    let isFound = false;
    spin.look(() => {
      clock.ms += lookMs;
      isFound = clock.ms >= due;
      return isFound;
    });
    clock.ms = Math.max(clock.ms, due);
    spin.end();
    return isFound;
  });
}

function started(processors = 2): { spin: Spin; clock: { ms: number } } {
  const clock = { ms: 1 };
  return { clock, spin: new Spin(() => clock.ms, processors) };
}

describe("a thread that waits for requests", () => {
  it("looks for those that come soon, and longer until that is enough", () => {
    const { spin, clock } = started();
    const found = serve(spin, clock, [0.1, 0.1, 0.1, 0.1, 0.1, 0.1]);
    expect(found).toEqual([false, false, false, false, true, true]);
  });

  it("sleeps at once when they come seldom", () => {
    const { spin, clock } = started();
    expect(serve(spin, clock, [0.01, 0.01, 0.01])).toEqual([false, true, true]);
    expect(serve(spin, clock, [5])).toEqual([false]);
    const before = clock.ms;
    let looks = 0;
    spin.look(() => ++looks > 0);
    expect([looks, clock.ms]).toEqual([0, before]);
  });

  it("does not look for a while when another one has had the processor meanwhile", () => {
    const { spin, clock } = started();
    expect(serve(spin, clock, [0.01, 0.01])).toEqual([false, true]);
    expect(serve(spin, clock, [10], 4)).toEqual([false]);
    expect(serve(spin, clock, [0.01, 0.01, 0.01])).toEqual([false, false, false]);
    clock.ms += 60;
    expect(serve(spin, clock, [0.01, 0.01])).toEqual([true, true]);
  });

  it("never looks where there is one processor", () => {
    const { spin, clock } = started(1);
    expect(serve(spin, clock, [0.01, 0.01, 0.01])).toEqual([false, false, false]);
  });
});
