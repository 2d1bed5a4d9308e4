/**
 * The pager: reads the fault messages of a volume's windows and serves them. It runs in a thread of
 * its own, which touches no window.
 *
 * Rules. (1) It never blocks for a lock: who revokes a window sleeps, holding its map lock, until
 *            the message of that is read here. A fault that has to wait is put aside, and messages
 *            are read on. (2) It never revokes. (3) Whatever a fault meets, its thread goes on.
 */
import { InvariantError } from "../base/invariant.ts";
import { type Address, PAGE_SIZE } from "../base/quantities.ts";
import { load } from "../sync/atomics.ts";
import { type Sleeps, Task, type Wait } from "../sync/sleep.ts";
import { WaitMeter } from "../sync/waits.ts";
import type { FaultPort } from "../window/fault-port.ts";
import type { Dax } from "./dax.ts";
import { serveFault } from "./evict.ts";

/** Without anything put aside: how often it looks whether it should stop. */
const IDLE_MS = 200;
/** Turns of looking at once, before it sleeps a millisecond between looks. */
const EAGER_TURNS = 200;
/** How long a put-aside fault sleeps before it is tried again for dead threads' sake. */
const SLICE_MS = 10;

interface PutAside {
  readonly generator: Sleeps<void>;
  readonly page: number;
  wait: Wait;
  since: number;
  meter: WaitMeter | null;
}

/**
 * Serves faults until `stopped` says so (then `port.kick()` ends the sleep).
 * Throws: an invariant that broke while a fault was served.
 */
export function runPager(dax: Dax, port: FaultPort, stopped: () => boolean): void {
  const pager = new Pager(dax, port);
  dax.isPager = true;
  while (!stopped()) pager.turn();
}

class Pager {
  readonly #dax: Dax;
  readonly #port: FaultPort;
  readonly #aside = new Set<PutAside>();
  /** Pages being served: several threads may wait for the same. */
  readonly #serving = new Set<number>();
  #eager = 0;

  constructor(dax: Dax, port: FaultPort) {
    this.#dax = dax;
    this.#port = port;
  }

  turn(): void {
    const waiting = this.#aside.size > 0;
    this.#eager = waiting ? this.#eager + 1 : 0;
    const timeout = waiting ? (this.#eager > EAGER_TURNS ? 1 : 0) : IDLE_MS;
    if (this.#port.waitForEvents(timeout)) {
      const onFault = (address: number, write: boolean, writeProtected: boolean): void => {
        this.#start(address, write || writeProtected);
      };
      while (this.#port.readEvents(onFault) > 0);
    }
    for (const fault of [...this.#aside]) this.#goOn(fault);
  }

  #start(address: number, write: boolean): void {
    const page = address - (address % PAGE_SIZE);
    if (this.#serving.has(page)) return;
    const { windows, thread } = this.#dax;
    const window = windows.at(address);
    if (window === null) {
      this.#port.wake(page as Address, PAGE_SIZE);
      return;
    }
    const serial = windows.serial(window);
    const task = new Task(thread, undefined);
    const generator = serveFault(task, this.#dax, window, serial, address, write);
    this.#serving.add(page);
    const wait = { word: 0, expected: 0, what: () => "" };
    this.#step({ generator, page, wait, since: 0, meter: null });
  }

  #goOn(fault: PutAside): void {
    const { thread } = this.#dax;
    const due = load(thread.words, fault.wait.word) !== fault.wait.expected;
    if (!due && performance.now() - fault.since < SLICE_MS) return;
    if (!due) thread.reap();
    fault.meter?.end();
    this.#step(fault);
  }

  #step(fault: PutAside): void {
    try {
      const step = fault.generator.next();
      if (!step.done) {
        fault.wait = step.value;
        fault.since = performance.now();
        fault.meter ??= new WaitMeter(this.#dax.thread);
        fault.meter.begin(step.value);
        this.#aside.add(fault);
        return;
      }
    } catch (error) {
      // Its thread must not wait for ever on a page that nobody will show.
      this.#port.showLost(fault.page as Address, PAGE_SIZE);
      if (error instanceof InvariantError) throw error;
    }
    fault.meter?.close();
    this.#aside.delete(fault);
    this.#serving.delete(fault.page);
    // A second thread, or a second kind of touch, may have been told apart meanwhile.
    this.#port.wake(fault.page as Address, PAGE_SIZE);
  }
}
