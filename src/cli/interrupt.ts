/** Ctrl-C, for a command that then ends early and prints what it has. */

/** Runs `work` with a signal that Ctrl-C sets. Returns whether it was set. */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once("SIGINT", interrupt);
  try {
    await work(stop.signal);
  } finally {
    process.off("SIGINT", interrupt);
  }
  return stop.signal.aborted;
}
