// Crashes while two threads change a volume at once, each in a directory of its own: of each directory is found what
// it was after one of its thread's operations, not before the last one that a sync of that thread was for.
// HOLDFAST_CRASH_STATES as for crash-points.test.ts.

import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import { randomFrom, SEED } from "../support/random.ts";
import { e2fsckClean, mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { endTurn } from "../support/turns.ts";
import { startRunner } from "../volume/threads.ts";
import { crashStates, type Event, newClock, startRecording } from "./recorder.ts";
import { onTheWay, type Snapshot, snapshotOf, whyNotAllowed } from "./snapshots.ts";
import { tick } from "./workers/recording.mjs";

const STATES = Number(process.env["HOLDFAST_CRASH_STATES"] ?? 2400);
const REGION_BYTES = 2 ** 26;
const BLOCK = 1024;
const THREADS = 2;
const OPERATIONS = 14;
/** One state in so many is looked at. */
const SAMPLED = 5;

const NAMES = [
  "create",
  "write",
  "append",
  "cut",
  "attribute",
  "rename",
  "mkdir",
  "unlink",
] as const;
const SYNCS = ["sync", "fsync"] as const;
type Name = (typeof NAMES | typeof SYNCS)[number];

/** What a thread has done, by the clock of its events. */
interface Done {
  readonly begin: number;
  readonly end: number;
  readonly syncs: boolean;
  /** Its directory afterwards, with contents as base64. */
  readonly seen: readonly (readonly [string, Omit<SeenFile, "content"> & { content: string }])[];
}
type SeenFile = Snapshot extends ReadonlyMap<string, infer T> ? T : never;

/** What workers/recorded.mjs gives to what it runs. */
interface Recording {
  readonly events: Event[];
  readonly tick: () => number;
}

/** Runs in the thread. It closes over nothing. */
function play(volume: Volume, _kept: unknown, root: string, names: readonly Name[]): Done[] {
  const { tick } = (globalThis as unknown as { recorded: Recording }).recorded;
  const look = (): Done["seen"] => {
    const seen: [string, Omit<SeenFile, "content"> & { content: string }][] = [];
    const walk = (directory: string): void => {
      for (const name of volume.readdirSync(directory)) {
        const at = `${directory}/${name}`;
        const stats = volume.lstatSync(at);
        const { ino, mode, uid, nlink, size } = stats;
        const type = stats.isDirectory() ? "directory" : "file";
        const content =
          type === "file" ? Buffer.from(volume.readFileSync(at)).toString("base64") : "";
        const attributes = volume
          .listxattrSync(at)
          .map((each) => `${each}=${Buffer.from(volume.getxattrSync(at, each)).toString("hex")}`)
          .join(" ");
        seen.push([at, { ino, type, mode, uid, links: nlink, size, content, attributes }]);
        if (type === "directory") walk(at);
      }
    };
    walk(root);
    return seen;
  };
  const onFile = (path: string, work: (file: ReturnType<Volume["openSync"]>) => void): void => {
    const file = volume.openSync(path, "r+");
    try {
      work(file);
    } finally {
      file.closeSync();
    }
  };
  const done: Done[] = [];
  for (const [index, name] of names.entries()) {
    const fill = 65 + index;
    const work: Record<Name, () => void> = {
      create: () => volume.openSync(`${root}/new${index}`, "wx").closeSync(),
      write: () => onFile(`${root}/a`, (file) => file.writeSync(Buffer.alloc(5000, fill), 1000)),
      append: () =>
        onFile(`${root}/a`, (file) =>
          file.writeSync(Buffer.alloc(900, fill), file.statSync().size),
        ),
      cut: () => onFile(`${root}/a`, (file) => file.truncateSync(2048)),
      attribute: () => volume.setxattrSync(`${root}/b`, "user.a", Buffer.alloc(40 * index, fill)),
      rename: () => volume.renameSync(`${root}/b`, `${root}/a`),
      mkdir: () => void volume.mkdirSync(`${root}/directory${index}`),
      unlink: () => volume.unlinkSync(`${root}/b`),
      sync: () => volume.syncSync(),
      fsync: () => onFile(`${root}/a`, (file) => file.syncSync()),
    };
    const begin = tick();
    let isDone = true;
    try {
      work[name]();
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") throw error;
      isDone = false;
    }
    const syncs = isDone && (name === "sync" || name === "fsync");
    done.push({ begin, end: tick(), syncs, seen: look() });
  }
  return done;
}

const snapshotFrom = ({ seen }: Pick<Done, "seen">): Snapshot =>
  new Map(
    seen.map(([path, file]) => [path, { ...file, content: Buffer.from(file.content, "base64") }]),
  );

skipUnless("mkfs.ext4", "e2fsck")(
  "a crash while two threads change a volume loses nothing that was promised to either",
  { timeout: 3_600_000 },
  async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    const state = directory.file("state");
    const random = randomFrom(SEED);
    const tally = { runs: 0, persists: 0, states: 0 };
    while (tally.states < STATES / 24) {
      mkfsExt4(image, BLOCK * 2560, ["-b", String(BLOCK), "-N", "128", "-J", "size=1"]);
      const roots = Array.from({ length: THREADS }, (_, thread) => `/thread${thread}`);
      const first = mountSync(image, { regionBytes: REGION_BYTES });
      for (const root of roots) {
        first.mkdirSync(root);
        first.writeFileSync(`${root}/a`, Buffer.alloc(4000, "a"));
        first.writeFileSync(`${root}/b`, Buffer.alloc(9000, "b"));
      }
      const starts = roots.map((root) => snapshotOf(first, root));
      first.closeSync();
      const base = readFileSync(image);

      const clock = newClock();
      const recording = startRecording(image, clock);
      // This thread commits by time, between the two.
      const volume = mountSync(image, { regionBytes: REGION_BYTES, commitSeconds: 1 });
      recording.events.push({ kind: "mark", mark: 0, time: tick(clock) });
      const script = new URL("./workers/recorded.mjs", import.meta.url);
      const handle = volume.share();
      const runners = await Promise.all(
        roots.map(() => startRunner(handle, script, { image, clock })),
      );
      const done = await Promise.all(
        runners.map((runner, thread) => {
          const names = Array.from(
            { length: OPERATIONS },
            (): Name => random.pick(random.below(3) === 0 ? SYNCS : NAMES),
          );
          return runner.run(play, roots[thread]!, names);
        }),
      );
      const events: Event[] = [];
      for (const runner of runners) {
        const recorded = await runner.run(
          () => (globalThis as unknown as { recorded: Recording }).recorded.events,
        );
        events.push(...recorded);
        await runner[Symbol.asyncDispose]();
      }
      volume.closeSync();
      recording.end();
      events.push(...recording.events);
      events.sort((a, b) => a.time - b.time);
      tally.persists += events.filter(({ kind }) => kind === "persist").length;

      const snapshots = done.map((each, thread) => [starts[thread]!, ...each.map(snapshotFrom)]);
      for (const crash of crashStates(base, events, { exhaustive: 8, random: 4 }, random)) {
        if (random.below(SAMPLED) !== 0) continue;
        writeFileSync(state, crash.image);
        const recovered = mountSync(state, { regionBytes: REGION_BYTES });
        for (const [thread, operations] of done.entries()) {
          const ended = operations.filter(({ end }) => end < crash.time);
          const durable = ended.findLastIndex(({ syncs }) => syncs) + 1;
          const begun = operations.filter(({ begin }) => begin < crash.time).length;
          const whole = snapshots[thread]!.slice(durable, begun + 1);
          // The other thread's files may be in the way of a write: it takes several transactions then.
          const allowed = [...whole, ...onTheWay(whole, BLOCK)];
          const found = snapshotOf(recovered, roots[thread]!);
          const why = whyNotAllowed(found, allowed, allowed);
          expect(why === null ? null : `thread ${thread}, ${crash.what}: ${why}`).toBe(null);
        }
        recovered.closeSync();
        const { clean, output } = e2fsckClean(state);
        expect(clean ? "" : `${crash.what}: ${output}`).toBe("");
        tally.states++;
        await endTurn();
      }
      tally.runs++;
    }
    process.stdout.write(`crash states of two threads: ${JSON.stringify(tally)}\n`);
  },
);
