/** The check at the end: every block of every file, when nothing runs any more. */
import type { FileHandle, Volume } from "../../index.ts";
import type { Board } from "./board.ts";
import { blocksOf } from "./context.ts";
import { BLOCK_BYTES, judgeBlock, markOf } from "./stamp.ts";
import type { Finding } from "./tally.ts";

const CHUNK_BLOCKS = 256;
/** Faults described for one file; all are counted. */
const DESCRIBED_MAX = 3;

export interface Survey {
  readonly files: number;
  readonly blocks: number;
  readonly foreignBlocks: number;
}

export type Report = (kind: Finding["kind"], message: string) => void;

/**
 * Reads every file of the volume by copying, judges each block, and compares what a window shows.
 * `when` says which state of the volume this is, in words.
 */
export async function surveyVolume(
  volume: Volume,
  directories: readonly string[],
  board: Board,
  source: Buffer,
  when: string,
  report: Report,
): Promise<Survey> {
  const survey = { files: 0, blocks: 0, foreignBlocks: 0 };
  for (const directory of directories) {
    for (const name of await volume.readdir(directory)) {
      const path = `${directory}/${name}`;
      const file = await volume.open(path, "r");
      try {
        const identity = board.identityOf(file.ino);
        const faults = judgeFile(file, identity, source);
        survey.files++;
        survey.blocks += faults.blocks;
        survey.foreignBlocks += faults.found.length;
        for (const fault of faults.found.slice(0, DESCRIBED_MAX)) {
          report("foreign", `${path} (file #${identity}), ${when}: ${fault}`);
        }
      } finally {
        await file.close();
      }
    }
  }
  return survey;
}

function judgeFile(
  file: FileHandle,
  identity: number,
  source: Buffer,
): { blocks: number; found: string[] } {
  const mark = markOf(identity);
  const { size } = file.statSync();
  const found: string[] = [];
  if (size === 0) return { blocks: 0, found };
  const window = file.map({ writable: false });
  const chunk = Buffer.alloc(CHUNK_BLOCKS * BLOCK_BYTES);
  try {
    for (let at = 0; at < size; at += chunk.length) {
      const length = file.readSync(chunk, at);
      chunk.fill(0, length);
      const shown = window.bytes.subarray(at, at + length);
      blocksOf(chunk, Math.ceil(length / BLOCK_BYTES)).forEach((block, index) => {
        const fault = judgeBlock(block, mark, source);
        if (fault !== null) found.push(`block ${at / BLOCK_BYTES + index}: ${fault.reason}`);
      });
      if (chunk.compare(shown, 0, shown.length, 0, length) !== 0) {
        const block = at / BLOCK_BYTES;
        found.push(`blocks from ${block} on: a window shows other bytes than a read gives`);
      }
    }
  } finally {
    window.close();
  }
  return { blocks: Math.ceil(size / BLOCK_BYTES), found };
}

/** Removes every file and directory that the run has made. */
export async function removeFiles(volume: Volume, directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    for (const name of await volume.readdir(directory)) await volume.unlink(`${directory}/${name}`);
    await volume.rmdir(directory);
  }
}
