/**
 * Commits by time: what changes a volume becomes durable some seconds later, also if nobody asks for it. The
 * thread that mounted the volume does it, whenever its event loop turns.
 */
import type { VolumeCore } from "./core.ts";
import { persistence } from "./sync.ts";

/** As the kernel's `commit=`. */
export const COMMIT_SECONDS_DEFAULT = 5;

/**
 * Begins; returns what ends it, or null where there is nothing to commit to. Never keeps the process alive. What
 * fails gives the journal up, and is told to whoever changes something next.
 */
export function startCommitter(core: VolumeCore, seconds: number): (() => void) | null {
  const { journal } = core.cache;
  if (journal === null || seconds === 0) return null;
  let isEnded = false;
  let isBusy = false;
  const commit = async (): Promise<void> => {
    if (isBusy || core.closing || !journal.isLive || !journal.hasChanges) return;
    isBusy = true;
    try {
      const steps = persistence(core);
      while (await core.step(steps)) {
        // An unmount waits for no storage that this waits for: it commits itself.
        await core.persistDeviceAsync();
        if (isEnded) return;
      }
    } catch (error) {
      if (!isEnded) process.emitWarning(error as Error);
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => void commit(), seconds * 1000);
  timer.unref();
  return () => {
    isEnded = true;
    clearInterval(timer);
  };
}
