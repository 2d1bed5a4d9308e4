/** The scrubber: finds pages that the storage has lost, and writes files back. */
import { setTimeout as pause } from "node:timers/promises";
import type { Lane } from "./context.ts";
import { chooseTarget } from "./cutters.ts";
import type { Files } from "./files.ts";
import { BLOCK_BYTES } from "./stamp.ts";

/** Ranges that are lost at a time. Others are written anew, cut off or given away meanwhile. */
const LOST_MAX = 6;
const BLOCKS_MAX = 4;
const PAUSE_MS = 5;

export function scrubberLane(files: Files): (lane: Lane) => Promise<void> {
  return async (lane) => {
    const { random, context } = lane;
    const { name, first } = chooseTarget(lane);
    if (random.oneIn(3)) await writeBack(lane, files, name);
    else if (context.volume.failure.badRanges().length < LOST_MAX) await lose(lane, name, first);
    await pause(random.below(PAUSE_MS));
  };
}

async function lose(lane: Lane, name: number, first: number): Promise<void> {
  const { volume, names, tally } = lane.context;
  const length = lane.random.between(1, BLOCKS_MAX) * BLOCK_BYTES;
  const target = { path: names[name]!, offset: first * BLOCK_BYTES, length };
  const reported = await lane.attempt("reporting lost pages", ["ENOENT", "EINVAL"], async () => {
    await volume.failure.poison(target);
    return true;
  });
  if (reported !== null) tally.countTrouble("lossesReported");
}

async function writeBack(lane: Lane, files: Files, name: number): Promise<void> {
  const file = await files.take(lane, name);
  if (file === null) return;
  try {
    const written = await lane.attempt("writing back", [], async () => {
      await file.handle.sync();
      return true;
    });
    if (written !== null) lane.context.tally.countTrouble("writtenBack");
  } finally {
    await files.giveBack(lane, file);
  }
}
