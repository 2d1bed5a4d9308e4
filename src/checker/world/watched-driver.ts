/** The ram driver as scenarios have it: each change of placement is told, and calls can be made to fail. */
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import type { DataDriver } from "../../dax/dax.ts";
import type { RamDriver } from "../../drivers/ram/driver.ts";
import type {
  BlockOwner,
  BlockSharing,
  Extent,
  FilePlace,
  OwnerSearch,
  OwnersFound,
  Time,
} from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import type { SimulatedDevice } from "./device.ts";

/** Files of drivers that free in steps end before this. */
const BYTES_LOOKED_AT = 2 ** 22;

/** `windows`: whether they show what there is by now. */
export type Changed = (what: string, windows?: boolean) => void;

export interface DriverSpec {
  /** Blocks that the driver frees in one transaction. Default: all. */
  readonly removedAtOnce?: number;
  /** False: its search for owners comes past nobody, as where the inodes are damaged. */
  readonly knowsOwners?: boolean;
  /** Owners that it finds in one part of a search. Default: all. */
  readonly ownersAtOnce?: number;
  /** Whether its format can share blocks. Default: true. */
  readonly shares?: boolean;
}

/** Tells of the driver's changes of placement before anybody can use the blocks. */
export class WatchedDriver implements DataDriver, BlockSharing {
  readonly blockSize = PAGE_SIZE;
  readonly sharing: BlockSharing | null;
  readonly #ram: RamDriver;
  readonly #device: SimulatedDevice;
  readonly #changed: Changed;
  readonly #removedAtOnce: number;
  readonly #knowsOwners: boolean;
  readonly #ownersAtOnce: number;

  constructor(
    ram: RamDriver,
    device: SimulatedDevice,
    changed: Changed,
    {
      removedAtOnce = Infinity,
      knowsOwners = true,
      ownersAtOnce = Infinity,
      shares = true,
    }: DriverSpec,
  ) {
    this.#ram = ram;
    this.sharing = shares ? this : null;
    this.#device = device;
    this.#changed = changed;
    this.#removedAtOnce = removedAtOnce * PAGE_SIZE;
    this.#knowsOwners = knowsOwners;
    this.#ownersAtOnce = ownersAtOnce;
  }

  extentAt(ino: Ino, byte: number, limit: number): Extent {
    this.#device.failIfAsked("extentAt");
    if (byte === 0) this.#device.failIfAsked("extentAt 0");
    return this.#ram.extentAt(ino, byte, limit);
  }

  allocate(
    transaction: Transaction,
    ino: Ino,
    start: number,
    length: number,
    mode: "write" | "preallocate",
  ): Extent {
    const extent = this.#ram.allocate(transaction, ino, start, length, mode);
    this.#changed("blocks are allocated");
    this.#device.failIfAsked("allocate");
    return extent;
  }

  removeExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    // As a driver of large files does: so many blocks a transaction, from the end.
    const from = Math.max(start, this.#endBelow(ino, start, end) - this.#removedAtOnce);
    const done = this.#ram.removeExtents(transaction, ino, from, end);
    this.#changed("blocks are freed");
    return done && from === start;
  }

  /** Where the last block of [start, end) ends. */
  #endBelow(ino: Ino, start: number, end: number): number {
    if (this.#removedAtOnce === Infinity) return start;
    let last = start;
    for (let at = start; at < Math.min(end, BYTES_LOOKED_AT); ) {
      const extent = this.#ram.extentAt(ino, at, Math.min(end, BYTES_LOOKED_AT));
      at = extent.start + extent.length;
      if (extent.kind !== "hole") last = at;
    }
    return last;
  }

  unwriteExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    const done = this.#ram.unwriteExtents(transaction, ino, start, end);
    this.#changed("blocks become unwritten");
    return done;
  }

  shiftExtents(transaction: Transaction, ino: Ino, start: number, distance: number): void {
    this.#ram.shiftExtents(transaction, ino, start, distance);
    this.#changed("blocks are moved in their file");
  }

  reflink(transaction: Transaction, from: FilePlace, to: FilePlace, length: number): void {
    this.#ram.sharing.reflink(transaction, from, to, length);
    this.#changed("blocks are shared");
  }

  unshare(transaction: Transaction, place: FilePlace, length: number): Extent {
    const extent = this.#ram.sharing.unshare(transaction, place, length);
    this.#changed("a copy takes the place of blocks", false);
    this.#device.failIfAsked("allocate");
    return extent;
  }

  reclaim(transaction: Transaction, place: FilePlace, length: number): Extent {
    return this.#ram.sharing.reclaim(transaction, place, length);
  }

  ownersOf(transaction: Transaction, search: OwnerSearch, cursor: number): OwnersFound {
    if (!this.#knowsOwners) return { owners: [], cursor: null };
    const { owners } = this.#ram.ownersOf(transaction, search);
    const end = cursor + this.#ownersAtOnce;
    return { owners: owners.slice(cursor, end), cursor: end < owners.length ? end : null };
  }

  ownedBy(transaction: Transaction, search: OwnerSearch, ino: Ino): BlockOwner[] {
    return this.#ram.ownedBy(transaction, search, ino);
  }

  sharedBlocks(): number {
    return this.#ram.sharing.sharedBlocks();
  }

  setSize(transaction: Transaction, ino: Ino, size: number): void {
    this.#ram.setSize(transaction, ino, size);
  }

  setAttributes(
    transaction: Transaction,
    ino: Ino,
    change: { modifyTime: Time; changeTime: Time },
  ): void {
    this.#ram.setAttributes(transaction, ino, change);
  }
}
