// What a program stores to a device, and when it persists it: and from that every content that the medium may be
// left with by a crash.
//
// Storage is mapped, and the system may write any page of it to the medium at any time. So of each page the medium
// has what it had when the page was last persisted, and any number of the stores since, from the first on: each
// page on its own. A crash just before a persist leaves any of these; what a crash at an earlier moment leaves is
// among them.

import { Device } from "../../src/device/index.ts";
import { type Clock, type Event, newClock, recordDevice, tick } from "./workers/recording.mjs";
import type { Random } from "../support/random.ts";

const PAGE = 4096;

export { type Clock, type Event, newClock };

/** Records what this thread does to the device at `path` until the end; other threads do with the same clock. */
export function startRecording(path: string, clock: Clock): ReturnType<typeof recordDevice> {
  return recordDevice(Device, path, clock);
}

/**
 * Records what `run` does to the device at `path`; `mark` puts a mark between its events, `stores` tells how many
 * stores there were.
 */
export function record(
  path: string,
  run: (mark: (mark: number) => void, stores: () => number) => void,
): Event[] {
  const clock = newClock();
  const { events, end } = startRecording(path, clock);
  try {
    run(
      (mark) => events.push({ kind: "mark", mark, time: tick(clock) }),
      () => events.filter(({ kind }) => kind === "store").length,
    );
  } finally {
    end();
  }
  return events;
}

type Store = Extract<Event, { kind: "store" }>;
/** Stores to one page since it was persisted. */
type Pending = Map<number, Pick<Store, "at" | "bytes" | "time">[]>;

/** A content that a crash may leave. */
export interface CrashState {
  /** The last mark before the crash. */
  readonly mark: number;
  /** When it was, by the clock; infinite when all had happened. */
  readonly time: number;
  readonly image: Uint8Array;
  /** What of the stores is there, for people. */
  readonly what: string;
}

function addStore(pending: Pending, { at, bytes, time }: Store): void {
  for (let done = 0; done < bytes.length; ) {
    const page = Math.floor((at + done) / PAGE);
    const length = Math.min((page + 1) * PAGE - (at + done), bytes.length - done);
    const stores = pending.get(page) ?? [];
    stores.push({ at: at + done, bytes: bytes.subarray(done, done + length), time });
    pending.set(page, stores);
    done += length;
  }
}

/**
 * The contents that crashes leave, from `image` on. Where a crash has at most `exhaustive` of them,
 * all; else those with all stores and none, with all but those of a page, with those of a page alone, and `random`
 * others. `events`: by time. What happened before the first mark is not tried.
 */
export function* crashStates(
  image: Uint8Array,
  events: readonly Event[],
  limits: { readonly exhaustive: number; readonly random: number },
  random: Random,
): Generator<CrashState> {
  const pending: Pending = new Map();
  // A copy of its own, and no Buffer: the slice of a Buffer is the same memory.
  const medium = new Uint8Array(image);
  let mark = -1;
  for (const event of events) {
    if (event.kind === "mark") mark = event.mark;
    else if (event.kind === "store") addStore(pending, event);
    else {
      if (mark >= 0) yield* statesOf(medium, pending, { mark, time: event.time }, limits, random);
      persist(medium, pending, event);
    }
  }
  yield* statesOf(medium, pending, { mark, time: Number.POSITIVE_INFINITY }, limits, random);
}

function persist(
  image: Uint8Array,
  pending: Pending,
  { at, end, since }: Extract<Event, { kind: "persist" }>,
): void {
  for (const [page, stores] of pending) {
    if ((page + 1) * PAGE <= at || page * PAGE >= end) continue;
    const later = stores.findIndex(({ time }) => time > since);
    const covered = later < 0 ? stores : stores.slice(0, later);
    for (const { at: from, bytes } of covered) image.set(bytes, from);
    if (later < 0) pending.delete(page);
    else pending.set(page, stores.slice(later));
  }
}

function* statesOf(
  image: Uint8Array,
  pending: Pending,
  { mark, time }: Pick<CrashState, "mark" | "time">,
  limits: { readonly exhaustive: number; readonly random: number },
  random: Random,
): Generator<CrashState> {
  const pages = [...pending.keys()];
  const counts = pages.map((page) => pending.get(page)!.length);
  const stateOf = (kept: readonly number[]): CrashState => {
    const state = image.slice();
    for (const [index, page] of pages.entries()) {
      for (const { at, bytes } of pending.get(page)!.slice(0, kept[index])) state.set(bytes, at);
    }
    const parts = pages.map((page, index) => `${page}: ${kept[index]} of ${counts[index]}`);
    return {
      mark,
      time,
      image: state,
      what: `after mark ${mark}; stores to pages ${parts.join(", ")}`,
    };
  };
  const total = counts.reduce((product, count) => product * (count + 1), 1);
  if (total <= limits.exhaustive) {
    for (let number = 0; number < total; number++) {
      let rest = number;
      yield stateOf(
        counts.map((count) => {
          const kept = rest % (count + 1);
          rest = Math.floor(rest / (count + 1));
          return kept;
        }),
      );
    }
    return;
  }
  yield stateOf(counts);
  yield stateOf(counts.map(() => 0));
  for (const [index, count] of counts.entries()) {
    yield stateOf(counts.map((each, other) => (other === index ? 0 : each)));
    yield stateOf(counts.map((_, other) => (other === index ? count : 0)));
  }
  for (let number = 0; number < limits.random; number++) {
    yield stateOf(counts.map((count) => random.below(count + 1)));
  }
}
