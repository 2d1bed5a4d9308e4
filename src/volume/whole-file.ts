/** A file's whole content, read and written by copy. */
import { truncateFile } from "../dax/layout-change.ts";
import { type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { readerOf, writerOf } from "./access.ts";
import { newBuffer } from "./buffer.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { changing, reading } from "./kernel-pages.ts";
import { assertNotMarked } from "./marks.ts";
import type { OpenFlags } from "./names.ts";

function* stableSize(task: Task, core: VolumeCore, mapping: Mapping): Sleeps<number> {
  const { thread } = core;
  return yield* readStable(task, mapping + MappingWord.sequence, () => sizeOf(thread, mapping));
}

/** The content, also where the file grows meanwhile. Sleeps: while somebody writes the file. */
export function* readWhole(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flags: OpenFlags,
): Sleeps<Uint8Array> {
  return yield* reading(task, core, inode, readAll(task, core, inode, flags));
}

function* readAll(
  task: Task,
  core: VolumeCore,
  { mapping }: InodeReference,
  flags: OpenFlags,
): Sleeps<Uint8Array> {
  let bytes = newBuffer(yield* stableSize(task, core, mapping));
  let done = 0;
  for (;;) {
    const rest = bytes.subarray(done);
    const count = yield* readerOf(flags)(task, core.dax, mapping, rest, done);
    done += count;
    const size = yield* stableSize(task, core, mapping);
    if (done >= size || count === 0) return bytes.subarray(0, done);
    if (done < bytes.length) continue; // up to a lost page: what is wrong there is told next
    const larger = newBuffer(size);
    larger.set(bytes);
    bytes = larger;
  }
}

/** Makes `source` the content; appends it, if the file was opened so. Throws: ENOSPC, EFBIG. */
export function* writeWhole(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flags: OpenFlags,
  source: Uint8Array,
): Sleeps<void> {
  yield* assertNotMarked(task, core, inode, flags.append);
  yield* changing(task, core, inode, writeAll(task, core, inode, flags, source));
}

function* writeAll(
  task: Task,
  core: VolumeCore,
  { mapping }: InodeReference,
  flags: OpenFlags,
  source: Uint8Array,
): Sleeps<void> {
  if (!flags.append && (yield* stableSize(task, core, mapping)) > 0) {
    yield* truncateFile(task, core.dax, mapping, 0);
  }
  for (let done = 0; done < source.length; ) {
    const at = flags.append ? "append" : done;
    done += yield* writerOf(flags)(task, core.dax, mapping, source.subarray(done), at);
  }
}
