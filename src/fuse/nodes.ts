/**
 * The inodes that the kernel knows. A node is an inode by its number, but for the root, which is node 1: so names,
 * renames and hard links are none of its affair, and a file whose last name is gone stays what it is.
 *
 * Each name that the kernel is told of counts one lookup, which it gives back by FORGET, to whatever thread. While there
 * are any, the inode is referenced (volume/lookups.ts): it is not freed, and its number is nobody else's.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Ino } from "../base/quantities.ts";
import type { Sleeps } from "../sync/sleep.ts";
import type { VolumeCore } from "../volume/core.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import { KernelLookups } from "../volume/kernel-lookups.ts";
import type { Scope } from "../volume/paths.ts";
import { ROOT_NODE } from "./protocol.ts";
import type { SharedMount } from "./shared-mount.ts";

export class Nodes implements Disposable {
  readonly #core: VolumeCore;
  readonly #lookups: KernelLookups;

  constructor(core: VolumeCore, { lookups }: SharedMount) {
    this.#core = core;
    this.#lookups = new KernelLookups(core.inodes, lookups);
  }

  inoOf(node: number): Ino {
    return node === ROOT_NODE ? this.#core.driver.rootIno : (node as Ino);
  }

  nodeOf(ino: Ino): number {
    return ino === this.#core.driver.rootIno ? ROOT_NODE : ino;
  }

  /**
   * The inode of a node, referenced until the scope ends: others may forget it meanwhile. One that was not looked up is
   * of a file handle that outlived the kernel's memory of it. Throws: ESTALE.
   */
  *find(scope: Scope, node: number): Sleeps<InodeReference> {
    try {
      const inode = yield* scope.reference(this.inoOf(node));
      if (!inode.isNameless) return inode;
      if (this.#lookups.has(inode)) return inode;
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === "ENOENT")) throw error;
    }
    throw new HoldfastError("ESTALE", `inode ${node} is not in use any more`);
  }

  /** The kernel is told of it once more. Returns its node. Throws: ENOMEM. */
  note(inode: InodeReference): number {
    this.#lookups.note(inode);
    return this.nodeOf(inode.ino);
  }

  /** A program opens a node, or closes it (`change` -1). */
  countOpen(node: number, toWrite: boolean, change: 1 | -1): void {
    this.#lookups.countOpen(this.inoOf(node), toWrite, change);
  }

  /** The kernel gives lookups back. Call `settle` of the volume afterwards. */
  forget(node: number, lookups: number): void {
    this.#lookups.forget(this.inoOf(node), lookups);
  }

  /** This thread serves no more. Call `settle` of the volume afterwards. */
  [Symbol.dispose](): void {
    this.#lookups.end();
  }
}
