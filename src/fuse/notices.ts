/** What the kernel is told without being asked. */
import { ERRNO, systemError } from "../base/errors.ts";
import { lastErrno, writeDescriptor } from "../base/libc.ts";
import { NOTIFY_INVAL_INODE, NotifyInvalInodeOut, OUT_HEADER_SIZE, OutHeader } from "./protocol.ts";

const NODE_AT = OUT_HEADER_SIZE + NotifyInvalInodeOut.node.offset;
const OFFSET_AT = OUT_HEADER_SIZE + NotifyInvalInodeOut.offset.offset;
/** Of all pages, from byte 0 on; else of none. */
const NO_PAGES = -1n;

/**
 * Has a kernel forget what it knows of an inode: its attributes, and with `pages` the pages of its content, too. What
 * programs have stored there is written first; so the kernel waits for answers then, and for reads that run. Without
 * `pages` it waits for nothing.
 */
export class InodeNotice {
  readonly #bytes = new Uint8Array(OUT_HEADER_SIZE + NotifyInvalInodeOut.structure.size);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor({ pages }: { readonly pages: boolean }) {
    OutHeader.length.set(this.#view, 0, this.#bytes.length);
    OutHeader.error.set(this.#view, 0, NOTIFY_INVAL_INODE);
    this.#view.setBigInt64(OFFSET_AT, pages ? 0n : NO_PAGES, true);
  }

  /** Tells the kernel behind `fd`, of /dev/fuse. To one that has no such inode, or no mount any more, it is nothing. */
  send(fd: number, node: number): void {
    this.#view.setBigUint64(NODE_AT, BigInt(node), true);
    if (writeDescriptor(fd, this.#bytes, this.#bytes.length) >= 0) return;
    const errno = lastErrno();
    if (errno !== ERRNO.ENOENT && errno !== ERRNO.ENODEV)
      throw systemError(errno, "write", { path: "/dev/fuse" });
  }
}
