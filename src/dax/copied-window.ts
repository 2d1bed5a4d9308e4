/**
 * Windows of memory of their own: filled once with a file's bytes, and the program's from then on. For who
 * stores to what it has mapped without meaning the file: a window that shows the file takes such stores
 * back when the layout changes (docs/protocol.md, "Private copies").
 */
import type { Mapping } from "../mapping/mapping.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, stableSize } from "./dax.ts";
import { readFile } from "./file-io.ts";
import type { ShownRange } from "./map-window.ts";

/**
 * Fills `bytes`, which are zeroes, with those of a file from `offset` on, as they are now.
 * Locks: takes the io lock, shared: no write call comes in between. Sleeps: for it.
 * Throws: CorruptionError; EIO where bytes are lost, or the device is gone.
 */
export function* copyWindow(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  bytes: Uint8Array,
): Sleeps<ShownRange> {
  for (let done = 0; done < bytes.length; ) {
    done += yield* readFile(task, dax, mapping, bytes.subarray(done), offset + done);
    // Fewer than there are: up to a lost page, which the next call tells of.
    if (offset + done >= (yield* stableSize(task, dax, mapping))) break;
  }
  return {
    bytes,
    offset,
    writable: false,
    sync: false,
    lostRange: () => null,
    *persistWith() {},
    *closeWith() {},
  };
}
