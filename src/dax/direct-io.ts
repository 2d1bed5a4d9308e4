/**
 * Direct I/O on copied files: calls that reach the blocks whatever is cached. They agree with all other
 * uses of the file on every byte: what is dirty is copied home before it is read, and what is written leaves
 * the cache, but for pages that are pinned. On direct files they are ordinary calls.
 */
import { PAGE_SIZE } from "../base/quantities.ts";
import { type Mapping, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { settleHome } from "./copied.ts";
import { type Dax, isCopied } from "./dax.ts";
import { writeFile } from "./file-io.ts";
import { dropCached } from "./evict.ts";

/**
 * As `writeFile`; when it returns, the blocks hold what was written, and no page of it is cached that is
 * not pinned. (Persistent it is after an fsync.) Locks and errors, also: those of `dropCached`.
 */
export function* writeDirect(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  source: Uint8Array,
  position: number | "append",
): Sleeps<number> {
  const written = yield* writeFile(task, dax, mapping, source, position);
  if (written === 0 || !isCopied(dax, mapping)) return written;
  const start = position === "append" ? 0 : position;
  const end = position === "append" ? (PAGE_INDEX_MAX + 1) * PAGE_SIZE : position + written;
  yield* dropCached(
    task,
    dax,
    mapping,
    Math.floor(start / PAGE_SIZE),
    Math.ceil(end / PAGE_SIZE) - 1,
  );
  yield* settleHome(task, dax, mapping, start, end);
  return written;
}
