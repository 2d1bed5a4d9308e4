/**
 * What a volume's files have beyond node:fs's: they are memory. In the face's three forms, by descriptors; a
 * FileHandle has them as methods.
 */
import type { WaitOptions } from "../arguments.ts";
import type { ExtentRange, FileExtent } from "../extents.ts";
import type { FallocateMode } from "../fallocate.ts";
import type { FilePin, PinOptions } from "../pin.ts";
import type { SeekTarget } from "../seek.ts";
import type { FileWindow, MapOptions } from "../window.ts";
import type { OpenFile } from "./descriptors.ts";
import type { Host } from "./host.ts";
import { onHandle, type Script } from "./script.ts";

/** The additions, as they block. `fd`: of this volume. */
export interface DirectCalls {
  /** As FileHandle.fallocate of the volume: all modes. */
  fallocate(
    fd: number,
    mode: FallocateMode,
    offset: number,
    length: number,
    options?: WaitOptions,
  ): void;
  /** What of the file has blocks, and where. */
  fiemap(fd: number, range?: ExtentRange): FileExtent[];
  /** A range of the file as memory, which its owner closes. */
  map(fd: number, options?: MapOptions): FileWindow;
  /** A range of the file as buffers for I/O, which its owner releases. */
  pin(fd: number, offset: number, length: number, options?: PinOptions): FilePin;
  /** The first byte of data from a position on. Throws: ENXIO where there is none. */
  seekData(fd: number, position: number): number;
  /** The first byte of a hole from a position on; the file's end is one. Throws: ENXIO behind it. */
  seekHole(fd: number, position: number): number;
}

type Answer<T> = (error: NodeJS.ErrnoException | null, result: T) => void;

/** The additions to the face, blocking and with callbacks. */
export type DirectForms = {
  readonly [Name in keyof DirectCalls as `${Name}Sync`]: DirectCalls[Name];
} & {
  readonly [Name in keyof DirectCalls]: (
    ...args: [...Parameters<DirectCalls[Name]>, callback: Answer<ReturnType<DirectCalls[Name]>>]
  ) => void;
};

/** Each on an open file. */
export const direct = {
  fallocate: (
    { handle }: OpenFile,
    mode: FallocateMode,
    offset: number,
    length: number,
    options?: WaitOptions,
  ): Script<void> =>
    onHandle("fallocate", {
      sync: () => handle.fallocateSync(mode, offset, length, options),
      async: () => handle.fallocate(mode, offset, length, options),
    }),

  fiemap: ({ handle }: OpenFile, range?: ExtentRange): Script<FileExtent[]> =>
    onHandle("fiemap", {
      sync: () => handle.extentsSync(range),
      async: () => handle.extents(range),
    }),

  map: ({ handle }: OpenFile, options?: MapOptions): Script<FileWindow> =>
    onHandle("mmap", { sync: () => handle.map(options), async: () => handle.mapAsync(options) }),

  pin: (
    { handle }: OpenFile,
    offset: number,
    length: number,
    options?: PinOptions,
  ): Script<FilePin> =>
    onHandle("pin", {
      sync: () => handle.pinSync(offset, length, options),
      async: () => handle.pin(offset, length, options),
    }),

  seekData: (file: OpenFile, position: number): Script<number> => seek(file, position, "data"),

  seekHole: (file: OpenFile, position: number): Script<number> => seek(file, position, "hole"),
} satisfies Record<keyof DirectCalls, (file: OpenFile, ...args: never[]) => Script<unknown>>;

function seek({ handle }: OpenFile, position: number, target: SeekTarget): Script<number> {
  return onHandle("lseek", {
    sync: () => handle.seekSync(position, target),
    async: () => handle.seek(position, target),
  });
}

/** The same on descriptors. */
export function directOperations(host: Host) {
  type OnFile = (file: OpenFile, ...args: unknown[]) => Script<unknown>;
  const onDescriptor = (onFile: unknown, syscall: string) =>
    function* (fd: unknown, ...args: unknown[]): Script<unknown> {
      return yield* (onFile as OnFile)(host.descriptors.get(fd, syscall), ...args);
    };
  const operations = Object.entries(direct).map(([name, onFile]) => [
    name,
    onDescriptor(onFile, name),
  ]);
  return Object.fromEntries(operations) as Record<
    keyof DirectCalls,
    (...args: unknown[]) => Script<unknown>
  >;
}
