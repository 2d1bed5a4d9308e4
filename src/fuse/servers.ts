/** The threads that serve a mount, as the thread sees them that has started them. */
import { Worker } from "node:worker_threads";
import { HoldfastError } from "../base/errors.ts";
import { closeDescriptor } from "../base/libc.ts";
import { builtModule } from "../base/modules.ts";
import type { VolumeHandle } from "../volume/handle.ts";
import { RECALLER } from "./mount-area.ts";
import type { ServeOptions } from "./serving.ts";
import type { SharedMountHandle } from "./shared-mount.ts";
import { cloneDevice } from "./system.ts";
import type { StartMessage, WorkerMessage, WorkerTask } from "./worker-messages.ts";

/** Of what goes wrong and is no program's own error. */
export interface Trouble {
  /** The request that met it, by its name in linux/fuse.h: "LOOKUP". */
  readonly operation: string;
  readonly text: string;
}

export interface ServersOptions {
  readonly handle: VolumeHandle;
  /** Of /dev/fuse; closed when its thread has ended. */
  readonly fd: number;
  /** How many threads serve requests. */
  readonly count: number;
  readonly options: ServeOptions;
  readonly onTrouble: (trouble: Trouble) => void;
  /** Takes the mount away at once, whoever uses it: a thread has ended that should not have. */
  readonly endMount: () => void;
}

/** One thread, and its descriptor: the kernel fails what a thread has read and not answered when that is closed. */
class Server {
  readonly ready: Promise<SharedMountHandle>;
  /** Settles when it has ended: with an error, if that was none of an unmount. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  #fd: number | null;

  constructor(task: WorkerTask, onTrouble: ServersOptions["onTrouble"]) {
    this.#fd = task.fd;
    const worker = new Worker(builtModule("fuse/worker.js"), {
      workerData: task,
      name: "holdfast kernel mount",
      execArgv: [],
    });
    this.#worker = worker;
    const exited = new Promise<void>((resolve, reject) => {
      worker.once("error", reject);
      worker.once("exit", (code) => {
        if (code === 0) resolve();
        else reject(new HoldfastError("EIO", `a thread that served the mount was ended (${code})`));
      });
    });
    this.ended = exited.finally(() => {
      if (this.#fd !== null) closeDescriptor(this.#fd);
    });
    this.ready = new Promise((resolve) => {
      worker.on("message", (message: WorkerMessage) => {
        if (message.what === "ready") resolve(message.mount);
        else onTrouble(message);
      });
    });
  }

  /** For others than the first. */
  start(message: NonNullable<StartMessage>): void {
    this.#fd = message.fd;
    this.#worker.postMessage(message);
  }

  /** The mount has not come to be. One that was started ends with it. */
  startNothing(): void {
    if (this.#fd === null) this.#worker.postMessage(null);
  }
}

/**
 * Starts the threads that serve, and returns when the mount can be used: the kernel was answered, and what must be recalled
 * is. The other servers come as soon as they are loaded. `ended` settles when all have ended. Throws: EIO when one ends before,
 * EACCES and others when /dev/fuse cannot be opened once more; then all have ended.
 */
export async function startServers(
  options: ServersOptions,
): Promise<{ readonly ended: Promise<void> }> {
  const { handle, fd, count, endMount } = options;
  const servers: Server[] = [];
  const startServer = (index: number): Server => {
    const isLeader = index === 0;
    const task = { handle, options: options.options, index, fd: isLeader ? fd : null };
    const server = new Server(task, options.onTrouble);
    servers.push(server);
    server.ended.catch(endMount);
    return server;
  };
  const allEnded = (): Promise<void> => untilAll(servers.map(({ ended }) => ended));
  /** What a server becomes, if it does not end before. */
  const unlessOver = <T>(server: Server, becomes: Promise<T>): Promise<T> => {
    const over = server.ended.then(() => {
      throw new HoldfastError("EIO", "the mount ended before it began");
    });
    return Promise.race([becomes, over]);
  };
  try {
    const leader = startServer(0);
    const mount = await unlessOver(leader, leader.ready);
    // Those who are loaded beside the first one would hold it up.
    const followers = Array.from({ length: count - 1 }, (_, index) => startServer(index + 1));
    // Where nobody else changes the volume nothing is recalled.
    const recaller = options.options.isAlone ? null : startServer(RECALLER);
    if (recaller !== null) followers.push(recaller);
    for (const follower of followers) follower.start({ mount, fd: cloneDevice(fd) });
    if (recaller !== null) await unlessOver(recaller, recaller.ready);
  } catch (error) {
    endMount();
    for (const server of servers) server.startNothing();
    await allEnded().catch(() => {});
    throw error;
  }
  return { ended: allEnded() };
}

/** Rejects with the first error when all have settled. */
async function untilAll(ends: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(ends);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
