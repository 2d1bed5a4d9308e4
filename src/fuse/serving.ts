/** What the operations work with. */
import type { InodeInfo } from "../iomap/contract.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { readAttributes } from "../volume/attributes.ts";
import type { VolumeCore } from "../volume/core.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import type { Maker } from "../volume/names.ts";
import type { Place, Scope } from "../volume/paths.ts";
import { Listings } from "./listings.ts";
import { Reply, Request, type Validity } from "./messages.ts";
import { Nodes } from "./nodes.ts";
import { ENTRY_SIZE } from "./protocol.ts";
import type { SharedMount } from "./shared-mount.ts";
import type { AccessTimes, Synchronous } from "./system.ts";
import { Turns } from "./turns.ts";

/** How a volume is served. */
export interface ServeOptions {
  /**
   * Whether the volume is used through this mount alone: then the kernel keeps what it knows for as long as it likes.
   * Else it asks each time, and keeps no pages of files but those that are mapped.
   */
  readonly isAlone: boolean;
  /** Whether the kernel collects what is written, and sizes and times with it. Needs `isAlone`. */
  readonly writeback: boolean;
  /** Which readings set times of access, and whether those of directories count. */
  readonly accessTimes: AccessTimes;
  readonly directoryAccessTimes: boolean;
  readonly synchronous: Synchronous;
}

const O_ACCMODE = 0o3;
const O_WRONLY = 0o1;

/** Whether the flags of open(2) open a file to be read. */
export function opensToRead(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_WRONLY;
}

/** Whether the flags of open(2) open a file to be written to. */
export function opensToWrite(flags: number): boolean {
  return (flags & O_ACCMODE) !== 0;
}

const FOREVER: Validity = { entry: 2 ** 31, attributes: 2 ** 31 };
const NEVER: Validity = { entry: 0, attributes: 0 };

/** An operation: reads `serving.request`, builds the answer, and returns its bytes; or an error number, negative. */
export type Operation = (serving: Serving, scope: Scope) => Sleeps<number>;

export class Serving {
  readonly core: VolumeCore;
  readonly options: ServeOptions;
  readonly nodes: Nodes;
  readonly listings: Listings;
  readonly mount: SharedMount;
  readonly turns: Turns;
  readonly request = new Request();
  readonly reply = new Reply();
  readonly valid: Validity;
  /** Nodes that this reply tells the kernel of: given back when it does not arrive. */
  readonly told: number[] = [];
  /** Of what this request has changed, the node that is to be durable when it is answered; 0: none. */
  durable = 0;
  /** A node whose attributes this request has changed in a way that the kernel does not know of; 0: none. */
  outdated = 0;
  /** A node that a program has open by this reply, 0: none; taken back when it does not arrive. */
  opened = 0;
  openedToWrite = false;
  /** Whom the driver acts for. */
  #uid = -1;
  #gid = -1;

  /** `fd`: of /dev/fuse. */
  constructor(core: VolumeCore, fd: number, mount: SharedMount, options: ServeOptions) {
    this.core = core;
    this.options = options;
    this.mount = mount;
    this.turns = new Turns(mount, fd);
    this.nodes = new Nodes(core, mount);
    this.listings = new Listings(mount);
    this.valid = options.isAlone ? FOREVER : NEVER;
    core.recalls = null;
  }

  /** Blocks that the format keeps back are for the superuser: it is told who asks. */
  actForCaller(): void {
    const { uid, gid } = this.request;
    if (uid === this.#uid && gid === this.#gid) return;
    this.#uid = uid;
    this.#gid = gid;
    this.core.driver.actFor({ uid, gids: [gid] });
  }

  /** The inode that the request is about. Throws: ESTALE. */
  inode(scope: Scope): Sleeps<InodeReference> {
    return this.nodes.find(scope, this.request.node);
  }

  /** A name in the directory that the request is about, `at` bytes into its body. */
  *place(scope: Scope, at: number): Sleeps<Place> {
    const directory = yield* this.inode(scope);
    return { directory, name: this.request.nameAt(at), kind: "name", trailingSlash: false };
  }

  /** For whom something is made. */
  maker(umask: number): Maker {
    const { uid, gid } = this.request;
    return { uid, gid, umask };
  }

  /** Tells of an inode under a name, at byte `at` of the reply. */
  tell(at: number, inode: InodeReference, info: InodeInfo): void {
    const node = this.nodes.note(inode);
    this.told.push(node);
    this.reply.entry(at, node, info, this.core.driver.blockSize, this.valid);
  }

  /**
   * A program has an inode open now, by the flags of open(2): what the kernel keeps of it counts, where others use the
   * volume. Before the answer: others look when it has arrived.
   */
  noteOpen({ ino }: InodeReference, flags: number): void {
    if (this.options.isAlone) return;
    this.opened = this.nodes.nodeOf(ino);
    this.openedToWrite = opensToWrite(flags);
    this.nodes.countOpen(this.opened, this.openedToWrite, 1);
  }

  /** The program has closed a node. */
  noteClose(node: number, flags: number): void {
    if (!this.options.isAlone) this.nodes.countOpen(node, opensToWrite(flags), -1);
  }

  /** The answer does not arrive. */
  takeBack(): void {
    if (this.opened !== 0) this.nodes.countOpen(this.opened, this.openedToWrite, -1);
    for (const node of this.told) this.nodes.forget(node, 1);
    this.#tellNothing();
  }

  /** The request changes something else than names. */
  noteChange(): void {
    if (this.options.synchronous === "all") this.durable = this.request.node;
  }

  /** A new request. */
  begin(): void {
    this.#tellNothing();
    this.durable = 0;
    this.outdated = 0;
  }

  #tellNothing(): void {
    this.told.length = 0;
    this.opened = 0;
  }

  /** The answer is an inode under a name. */
  *entry(scope: Scope, inode: InodeReference): Sleeps<number> {
    const info = yield* readAttributes(scope.task, this.core, inode);
    this.tell(this.reply.body, inode, info);
    return ENTRY_SIZE;
  }

  /** The answer is an inode's attributes. */
  *attributes(scope: Scope, inode: InodeReference): Sleeps<number> {
    const info = yield* readAttributes(scope.task, this.core, inode);
    return this.reply.attributes(info, this.core.driver.blockSize, this.valid);
  }
}
