/**
 * A TCP connection to ourselves, through which data goes into and out of pinned pages, in parts and
 * with pauses: an I/O that takes its time, as a network card's does.
 *
 * Receiving: the socket reads straight into the caller's memory (`onread`). Between I/Os its buffer
 * is one byte of our own, which a preamble of one byte fills; only then does it ask for the next.
 */
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const PREAMBLE = Buffer.from([0x5a]);

/** How an I/O is spread over time. */
export interface Pace {
  readonly parts: number;
  readonly pauseMs: number;
}

export class Loopback {
  #near!: Socket;
  #far!: Socket;
  readonly #idleByte = Buffer.alloc(1);
  #targets: readonly Uint8Array[] = [];
  #target = 0;
  #targetFilled = 0;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #finish: (() => void) | null = null;
  #wantedBytes = 0;
  #failure: Error | null = null;
  #onFailure: ((error: Error) => void) | null = null;

  /** Opens a connection within this thread. */
  static async open(): Promise<Loopback> {
    const loopback = new Loopback();
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no loopback port");
    const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
    const near = connect({
      host: "127.0.0.1",
      port: address.port,
      noDelay: true,
      onread: {
        buffer: () => loopback.#nextTarget(),
        callback: (bytes) => loopback.#filled(bytes),
      },
    });
    await new Promise<void>((resolve, reject) => {
      near.once("connect", resolve);
      near.once("error", reject);
    });
    loopback.#near = near;
    loopback.#far = await accepted;
    loopback.#far.setNoDelay(true);
    server.close();
    loopback.#listen();
    return loopback;
  }

  #listen(): void {
    for (const socket of [this.#near, this.#far]) {
      socket.on("error", (error) => {
        this.#failure = error;
        this.#onFailure?.(error);
      });
    }
    this.#far.on("data", (chunk) => {
      this.#received.push(chunk);
      this.#receivedBytes += chunk.length;
      if (this.#receivedBytes >= this.#wantedBytes) this.#finish?.();
    });
  }

  /** Where the socket reads next: called by Node after every read. */
  #nextTarget(): Uint8Array {
    const target = this.#targets[this.#target];
    return target === undefined ? this.#idleByte : target.subarray(this.#targetFilled);
  }

  /** Node has read this many bytes into the buffer it was given last. */
  #filled(bytes: number): boolean {
    if (this.#target < 0) {
      this.#target = 0;
      return true;
    }
    const target = this.#targets[this.#target];
    if (target === undefined) return true;
    this.#targetFilled += bytes;
    if (this.#targetFilled < target.length) return true;
    this.#targetFilled = 0;
    this.#target++;
    if (this.#target === this.#targets.length) this.#finish?.();
    return true;
  }

  /** Sends `data` to ourselves, straight into `targets`, which are as long together. */
  async receive(targets: readonly Uint8Array[], data: Buffer, pace: Pace): Promise<void> {
    this.#targets = targets;
    this.#target = -1;
    this.#targetFilled = 0;
    const done = this.#completion();
    this.#far.write(PREAMBLE);
    const step = Math.ceil(data.length / pace.parts);
    for (let at = 0; at < data.length; at += step) {
      if (at > 0) await pause(pace.pauseMs);
      this.#far.write(Buffer.from(data.subarray(at, at + step)));
    }
    await done;
    this.#targets = [];
    this.#target = 0;
  }

  /** Sends `sources` from where they lie. Returns what arrived at the other end. */
  async send(sources: readonly Uint8Array[], pace: Pace): Promise<Buffer> {
    const total = sources.reduce((sum, each) => sum + each.length, 0);
    this.#received = [];
    this.#receivedBytes = 0;
    this.#wantedBytes = total;
    const done = this.#completion();
    const step = Math.ceil(total / pace.parts);
    let sinceLastPause = 0;
    for (const source of sources) {
      for (let at = 0; at < source.length; ) {
        const end = Math.min(source.length, at + step - sinceLastPause);
        this.#near.write(source.subarray(at, end));
        sinceLastPause += end - at;
        at = end;
        if (sinceLastPause < step) continue;
        await pause(pace.pauseMs);
        sinceLastPause = 0;
      }
    }
    await done;
    const arrived = Buffer.concat(this.#received);
    this.#received = [];
    return arrived;
  }

  #completion(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = deferred();
    this.#finish = resolve;
    this.#onFailure = reject;
    promise.catch(() => {}); // awaited later, after the sending
    return promise;
  }

  close(): void {
    this.#near.destroy();
    this.#far.destroy();
  }
}

function deferred(): {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
} {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { promise, resolve, reject };
}
