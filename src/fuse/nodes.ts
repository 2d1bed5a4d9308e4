/**
 * The inodes that the kernel knows. A node is an inode by its number, but for the root, which is node 1: so names,
 * renames and hard links are none of its affair, and a file whose last name is gone stays what it is.
 *
 * Each name that the kernel is told of counts one lookup, which it gives back by FORGET. While there are any, the
 * inode is referenced: it is not freed, and its number is nobody else's.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Ino } from "../base/quantities.ts";
import type { Sleeps } from "../sync/sleep.ts";
import type { VolumeCore } from "../volume/core.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import type { Scope } from "../volume/paths.ts";
import { ROOT_NODE } from "./protocol.ts";

interface Node {
  readonly inode: InodeReference;
  lookups: number;
  /** It may have capabilities, which the next change of its content is to take away. */
  mayHaveCapabilities: boolean;
}

export class Nodes implements Disposable {
  readonly #core: VolumeCore;
  readonly #nodes = new Map<number, Node>();

  constructor(core: VolumeCore) {
    this.#core = core;
  }

  inoOf(node: number): Ino {
    return node === ROOT_NODE ? this.#core.driver.rootIno : (node as Ino);
  }

  nodeOf(ino: Ino): number {
    return ino === this.#core.driver.rootIno ? ROOT_NODE : ino;
  }

  /**
   * The inode of a node. One that was not looked up is of a file handle that outlived the kernel's memory of it.
   * Throws: ESTALE.
   */
  *find(scope: Scope, node: number): Sleeps<InodeReference> {
    const known = this.#nodes.get(node);
    if (known !== undefined) return known.inode;
    try {
      const inode = yield* scope.reference(this.inoOf(node));
      if (!inode.isNameless) return inode;
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === "ENOENT")) throw error;
    }
    throw new HoldfastError("ESTALE", `inode ${node} is not in use any more`);
  }

  /** The kernel is told of it once more. Returns its node. */
  note(inode: InodeReference): number {
    const node = this.nodeOf(inode.ino);
    const known = this.#nodes.get(node);
    if (known !== undefined) known.lookups++;
    else {
      const made: Node = { inode: inode.again(), lookups: 1, mayHaveCapabilities: true };
      this.#nodes.set(node, made);
    }
    return node;
  }

  /** The kernel gives lookups back. Call `settle` of the volume afterwards. */
  forget(node: number, lookups: number): void {
    const known = this.#nodes.get(node);
    if (known === undefined) return;
    known.lookups -= lookups;
    if (known.lookups > 0) return;
    this.#nodes.delete(node);
    known.inode.release();
  }

  /** Whether a file may have capabilities; not known: it may. */
  mayHaveCapabilities(node: number): boolean {
    return this.#nodes.get(node)?.mayHaveCapabilities ?? true;
  }

  noteCapabilities(node: number, mayHave: boolean): void {
    const known = this.#nodes.get(node);
    if (known !== undefined) known.mayHaveCapabilities = mayHave;
  }

  [Symbol.dispose](): void {
    for (const { inode } of this.#nodes.values()) inode.release();
    this.#nodes.clear();
  }
}
