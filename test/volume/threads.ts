// Worker threads that use a volume, for the tests.

import { Worker } from "node:worker_threads";
import type { Volume, VolumeHandle } from "../../src/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: what the functions keep is theirs to type
type Kept = Record<string, any>;

/** A thread that runs functions it is sent. They close over nothing: pass what they need as arguments. */
export interface Runner extends AsyncDisposable {
  readonly worker: Worker;
  // biome-ignore lint/suspicious/noExplicitAny: the functions' arguments are theirs to type
  run<T, A extends any[]>(
    code: (volume: Volume, kept: Kept, ...args: A) => T | Promise<T>,
    ...args: A
  ): Promise<Awaited<T>>;
  terminate(): Promise<unknown>;
}

/** `script`: one that does something else first, with what else it is given. */
export function startRunner(
  handle: VolumeHandle,
  script: URL = new URL("./workers/runner.mjs", import.meta.url),
  given: object = {},
): Promise<Runner> {
  const worker = new Worker(script, { workerData: { handle, ...given } });
  const waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void }
  >();
  let next = 1;
  const runner: Runner = {
    worker,
    run: (code, ...args) =>
      new Promise((resolve, reject) => {
        waiting.set(next, { resolve, reject });
        worker.postMessage({ id: next++, code: String(code), args });
      }),
    terminate: () => worker.terminate(),
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", () => {
      for (const { reject: fail } of waiting.values()) fail(new Error("the worker has ended"));
    });
    worker.on("message", ({ id, value, error }) => {
      if (id === 0) {
        resolve(runner);
        return;
      }
      const { resolve: done, reject: fail } = waiting.get(id)!;
      waiting.delete(id);
      if (error === undefined) done(value as never);
      else fail(Object.assign(new Error(error.message), error));
    });
  });
}

/** A thread that works on the volume until it is terminated, and counts its turns. */
export function startChurn(
  handle: VolumeHandle,
  name: string,
  seed: number,
): { worker: Worker; turns: () => number; failure: Promise<Error> } {
  const progress = new SharedArrayBuffer(4);
  const worker = new Worker(new URL("./workers/churn.mjs", import.meta.url), {
    workerData: { handle, name, seed, progress },
  });
  const failure = new Promise<Error>((resolve) => worker.on("error", resolve));
  return { worker, turns: () => Atomics.load(new Int32Array(progress), 0), failure };
}
