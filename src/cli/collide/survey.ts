/** The check after the run: every block of every file, when nothing else runs any more. */
import type { FileHandle, Volume } from "../../index.ts";
import { blocksOf, codeOf, type Lane } from "./context.ts";
import { UNNAMED } from "./files.ts";
import { BLOCK_BYTES, type FileMark, judgeBlock } from "./stamp.ts";

const CHUNK_BLOCKS = 256;
/** Faults described for one file; all are counted. */
const DESCRIBED_MAX = 3;

export interface Survey {
  readonly files: number;
  readonly blocks: number;
  readonly foreignBlocks: number;
}

/**
 * Reads every file of the volume by copying, judges each block, and compares what a window shows.
 * `when` says which state of the volume this is, in words.
 */
export async function surveyVolume(lane: Lane, when: string): Promise<Survey> {
  const { volume, board, setup } = lane.context;
  const survey = { files: 0, blocks: 0, foreignBlocks: 0 };
  for (const directory of setup.directories) {
    for (const name of await volume.readdir(directory)) {
      lane.enter("checking a file");
      const path = `${directory}/${name}`;
      const file = await volume.open(path, setup.mix === "full" ? "r+" : "r");
      try {
        const identity = board.identityOf(file.ino);
        const { blocks, found } = judgeFile(file, board.markOf(identity), lane.context.source);
        survey.files++;
        survey.blocks += blocks;
        survey.foreignBlocks += found.length;
        for (const fault of found.slice(0, DESCRIBED_MAX)) {
          lane.context.report("foreign", `${path} (file #${identity}), ${when}: ${fault}`);
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
  mark: FileMark,
  source: Buffer,
): { blocks: number; found: string[] } {
  const { size } = file.statSync();
  const found: string[] = [];
  if (size === 0) return { blocks: 0, found };
  const window = file.map({ writable: false });
  const chunk = Buffer.alloc(CHUNK_BLOCKS * BLOCK_BYTES);
  try {
    for (let at = 0; at < size; at += chunk.length) {
      const first = at / BLOCK_BYTES;
      const length = readHealing(file, chunk, at);
      chunk.fill(0, length);
      blocksOf(chunk, Math.ceil(length / BLOCK_BYTES)).forEach((block, index) => {
        const fault = judgeBlock(block, mark, source);
        if (fault !== null) found.push(`block ${first + index}: ${fault.reason}`);
      });
      const shown = window.bytes.subarray(at, at + length);
      if (chunk.compare(shown, 0, shown.length, 0, length) !== 0) {
        found.push(`blocks from ${first} on: a window shows other bytes than a read gives`);
      }
    }
  } finally {
    window.close();
  }
  return { blocks: Math.ceil(size / BLOCK_BYTES), found };
}

/** Reads as much as there is. Pages that the storage has lost are punched out, which heals them. */
function readHealing(file: FileHandle, chunk: Buffer, at: number): number {
  for (let length = 0; ; ) {
    try {
      const more = file.readSync(chunk.subarray(length), at + length);
      length += more;
      if (more === 0 || length === chunk.length) return length;
    } catch (error) {
      if (codeOf(error) !== "EIO") throw error;
      file.fallocateSync("punch-hole", at + length, BLOCK_BYTES);
    }
  }
}

/** Removes every file and directory that the run has made. */
export async function removeFiles(volume: Volume, directories: readonly string[]): Promise<void> {
  for (const name of await volume.readdir("/")) {
    // Files of threads that were killed before they could name them.
    if (`/${name}`.startsWith(UNNAMED)) await volume.unlink(`/${name}`);
  }
  for (const directory of directories) {
    for (const name of await volume.readdir(directory)) await volume.unlink(`${directory}/${name}`);
    await volume.rmdir(directory);
  }
}
