/** Page types as programs register them: who is told when parts of a raw device are idle. */
import { HoldfastError } from "../base/errors.ts";
import { HUGE_SIZE } from "../base/quantities.ts";
import type { ByteRange } from "../dax/pins.ts";
import { TYPE_NAME_BYTES_MAX } from "../pages/page-types.ts";
import { load } from "../sync/atomics.ts";
import { untilChanged } from "../sync/runners.ts";
import { wrongType, wrongValue } from "./arguments.ts";
import type { OpenThing, VolumeCore } from "./core.ts";

export interface PageTypeOptions {
  /**
   * Called on this thread's event loop with each run of 2 MiB units that nobody pins any more: some time
   * after the last pin of a unit is released, or the unit has left memory. Units that were pinned again by
   * then are left out: their next last release tells. It may be told of a unit twice.
   */
  readonly onIdle: (range: ByteRange) => void;
}

/** A name's bytes. Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE. */
function checkName(name: unknown): Uint8Array {
  if (typeof name !== "string") throw wrongType("name", "a string", name);
  const bytes = new TextEncoder().encode(name);
  if (bytes.length >= 1 && bytes.length <= TYPE_NAME_BYTES_MAX) return bytes;
  throw wrongValue("name", `must have 1 to ${TYPE_NAME_BYTES_MAX} bytes`, name);
}

/**
 * Makes [offset, offset + length) of the device of the type `name`, or of none (null).
 * Throws: ENOENT when nobody has registered the type; EINVAL for what is not whole units of 2 MiB.
 */
export function setPageType(core: VolumeCore, range: ByteRange, name: string | null): void {
  const { device, pages } = core.dax;
  const { offset, length } = range;
  const type = name === null ? 0 : pages.types.find(checkName(name));
  if (name !== null && type === 0) {
    throw new HoldfastError("ENOENT", `no thread has registered the page type '${name}'`);
  }
  const end = offset + length;
  const whole = offset % HUGE_SIZE === 0 && length % HUGE_SIZE === 0 && length > 0;
  if (!whole || offset < 0 || end > device.size) {
    throw new HoldfastError(
      "EINVAL",
      `[${offset}, ${end}) is not whole units of ${HUGE_SIZE} bytes of a device of ${device.size}`,
    );
  }
  if (!pages.types.any) return;
  pages.setType(offset / HUGE_SIZE, length / HUGE_SIZE, type);
}

/** What a page of a type is for: its name, and its registrar, who is told when it is idle. */
export class PageType implements OpenThing, Disposable {
  readonly name: string;
  readonly #core: VolumeCore;
  readonly #type: number;
  readonly #onIdle: PageTypeOptions["onIdle"];
  #closed = false;

  /**
   * Use `RawDevice.registerPageType`.
   * Throws: EEXIST naming the thread that has registered the type; ENOSPC when there are 7, ENOMEM.
   */
  constructor(core: VolumeCore, name: string, options: PageTypeOptions) {
    if (typeof options?.onIdle !== "function") {
      throw wrongType("options.onIdle", "a function", options?.onIdle);
    }
    this.#core = core;
    this.name = name;
    this.#onIdle = options.onIdle;
    this.#type = core.dax.pages.types.register(checkName(name));
    core.open.add(this);
    void this.#watch();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Tells of what is idle until it is closed. Keeps no process alive. */
  async #watch(): Promise<void> {
    const { thread } = this.#core;
    const { types } = this.#core.dax.pages;
    const word = types.toldWord(this.#type);
    await Promise.resolve(); // nothing is told before the program has the type
    while (!this.#closed) {
      const told = load(thread.words, word);
      for (const range of this.#takeIdle()) this.#tell(range);
      await untilChanged(thread, word, told);
    }
  }

  /** A callback that throws ends as any that throws does; the next one is called all the same. */
  #tell(range: ByteRange): void {
    if (this.#closed) return;
    try {
      this.#onIdle(range);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** What was told and is idle now, in runs. */
  #takeIdle(): ByteRange[] {
    const { pages } = this.#core.dax;
    const runs: { offset: number; length: number }[] = [];
    for (const chunk of pages.types.takeIdle(this.#type)) {
      if (!pages.isChunkIdle(chunk)) continue;
      const offset = chunk * HUGE_SIZE;
      const last = runs.at(-1);
      if (last !== undefined && last.offset + last.length === offset) last.length += HUGE_SIZE;
      else runs.push({ offset, length: HUGE_SIZE });
    }
    return runs;
  }

  /** Ends it: nobody is told until a thread registers the type again. Twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#core.open.delete(this);
    this.#core.dax.pages.types.unregister(this.#type);
  }

  closeSync(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
