/**
 * Passing on to a kernel mount what it is to give up (volume/kernel-recalls.ts), in a thread of its own: the kernel writes
 * back what programs have stored, and waits for pages that are on their way, both of which the threads that serve
 * answer. So none of those may be the one that waits here.
 */
import { load, sleepWhile } from "../sync/atomics.ts";
import type { VolumeCore } from "../volume/core.ts";
import { Recaller } from "../volume/kernel-recalls.ts";
import { InodeNotice } from "./notices.ts";
import type { SharedMount } from "./shared-mount.ts";

/** Between two looks whether a server has died: the mount's end wakes. */
const SLICE_MS = 1000;

/** Returns at the mount's end. Blocks. `fd`: of /dev/fuse. Throws: ENFILE. */
export function passRecallsOn(
  { thread }: VolumeCore,
  fd: number,
  mount: SharedMount,
  onReady: () => void,
): void {
  const { words } = thread;
  const notice = new InodeNotice({ pages: true });
  const recaller = new Recaller(thread);
  try {
    onReady();
    for (;;) {
      const bell = load(words, recaller.bell);
      for (let ino = recaller.next(); ino !== 0; ino = recaller.next()) {
        // A file's node is its number (nodes.ts).
        notice.send(fd, ino);
        recaller.pass();
      }
      if (mount.isEnding) return;
      sleepWhile(words, recaller.bell, bell, SLICE_MS);
    }
  } finally {
    recaller.end();
  }
}
