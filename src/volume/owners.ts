/** Who has blocks, as programs ask for it. */
import type { BlockUse } from "../base/block-use.ts";
import { HoldfastError } from "../base/errors.ts";
import { roundDown, roundUp } from "../base/quantities.ts";
import { findOwners, searchFor } from "../dax/owners.ts";
import type { BlockOwner } from "../iomap/contract.ts";
import { checkInteger, wrongType } from "./arguments.ts";
import type { Operation, VolumeCore } from "./core.ts";
import { Scope } from "./paths.ts";

/** Bytes of the device. */
export interface DeviceRange {
  readonly deviceOffset: number;
  readonly length: number;
}

/** Who has bytes of the device, in whole blocks. */
export interface DeviceOwner extends DeviceRange {
  readonly use: BlockUse;
  /** Whose; null: the volume's own. */
  readonly ino: number | null;
  /** In the file; of "data" and "unwritten", else null. */
  readonly offset: number | null;
  /** The path by which this thread has the file open, if it has. */
  readonly path: string | null;
  /** Of structures, in words: "inode table of group 3", "block map of inode 12". Else null. */
  readonly structure: string | null;
}

/** The path by which this thread has an inode open, or null: names are not searched for. */
export function pathOf({ open }: VolumeCore, ino: number | null): string | null {
  if (ino === null) return null;
  for (const thing of open) if (thing.ino === ino) return thing.path ?? null;
  return null;
}

/** What an owner has there, in words; null where that is bytes of a file. */
export function structureOf({
  use,
  ino,
  group,
}: Pick<BlockOwner, "use" | "group"> & { readonly ino: number | null }): string | null {
  if (use === "data") return null;
  const what = use === "unwritten" ? "unwritten blocks" : use;
  if (group !== null) return `${what} of group ${group}`;
  return ino === null ? what : `${what} of inode ${ino}`;
}

/** See Volume.blockOwners. */
export function blockOwners(core: VolumeCore, range: DeviceRange): Operation<DeviceOwner[]> {
  if (typeof range !== "object" || range === null) throw wrongType("range", "an object", range);
  const offset = checkInteger("range.deviceOffset", range.deviceOffset);
  const length = checkInteger("range.length", range.length, 1);
  const { size } = core.dax.device;
  if (offset + length > size) {
    const bytes = `[${offset}, ${offset + length})`;
    throw new HoldfastError("EFAULT", `${bytes} is not inside the device of ${size} bytes`);
  }
  const { blockSize } = core.driver;
  const from = roundDown(offset, blockSize);
  const search = searchFor(core.dax, from, roundUp(offset + length, blockSize) - from);
  return function* (task) {
    using scope = new Scope(core, task);
    yield* scope.root(); // which keeps the volume mounted
    const owners = yield* findOwners(task, core.dax, search);
    return owners
      .sort((a, b) => a.address - b.address)
      .map((owner) => ({
        deviceOffset: owner.address,
        length: owner.length,
        use: owner.use,
        ino: owner.ino,
        offset: owner.start,
        path: pathOf(core, owner.ino),
        structure: structureOf(owner),
      }));
  };
}
