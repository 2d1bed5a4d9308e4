/** What the operations of the face work with: the volume in this thread, and its descriptors. */
import type { VolumeCore } from "../core.ts";
import { type Call, open, type PathLike, runScoped } from "../calls.ts";
import { FileHandle } from "../file.ts";
import { pathText } from "../arguments.ts";
import { Descriptors, OpenFile } from "./descriptors.ts";
import type { FsOpenFlags } from "./flags.ts";
import { type Script, type Step, take } from "./script.ts";

export class Host {
  readonly core: VolumeCore;
  readonly descriptors = new Descriptors();

  constructor(core: VolumeCore) {
    this.core = core;
  }

  /** A call as a step. */
  step<T>({ context, run, options }: Call<T>): Step<T> {
    const { core } = this;
    return {
      sync: () => core.runSync(context, (task) => runScoped(core, task, run), options),
      async: () => core.runAsync(context, (task) => runScoped(core, task, run), options),
    };
  }

  *call<T>(call: Call<T>): Script<T> {
    return yield* take(this.step(call));
  }

  *open(path: PathLike, flags: FsOpenFlags, mode?: number | string): Script<OpenFile> {
    const inode = yield* this.call(open(path, flags, mode));
    return new OpenFile(new FileHandle(this.core, inode, flags, pathText(path)), flags);
  }

  /** Opens a file for `work`, and closes it again, however that ends. */
  *withFile<T>(
    path: PathLike,
    flags: FsOpenFlags,
    mode: number | string | undefined,
    work: (file: OpenFile) => Script<T>,
  ): Script<T> {
    const file = yield* this.open(path, flags, mode);
    try {
      return yield* work(file);
    } finally {
      yield* close(file);
    }
  }
}

export function* close({ handle }: OpenFile): Script<void> {
  yield* take({ sync: () => handle.closeSync(), async: () => handle.close() });
}
