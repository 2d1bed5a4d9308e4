/** Ctrl-C, and the system's wish that a program ends: a command ends early then, and prints what it has. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs `work` with a signal that Ctrl-C sets; a second Ctrl-C ends the process. Returns whether it was set. */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  for (const name of SIGNALS) process.once(name, interrupt);
  try {
    await work(stop.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, interrupt);
  }
  return stop.signal.aborted;
}
