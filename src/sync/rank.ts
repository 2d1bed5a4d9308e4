/**
 * The lock order, outermost first. A lock is taken only while everything held ranks above it, or
 * ranks the same and comes earlier in the order of its kind (parents before children, then inode
 * number). The code that holds both, for each edge:
 *
 *     directory > io          volume/names.ts: unlink, rename (the parent, then the child)
 *     io > map                dax/layout-change.ts: every layout change
 *     io > io, map > map     layout/break.ts: two files broken together, by inode number
 *     write-back > map        dax/write-back.ts
 *     map > transaction       dax/layout-change.ts, dax/fault.ts: blocks freed and allocated
 *     map > entry             dax/fault.ts: the entry is locked, then found blocks are shown
 *     entry > transaction     never: a fault that allocates opens its transaction first
 *     transaction > guard     metadata/cache.ts: a block is filled
 *     any > guard             guards are innermost and never nested, but for a slab's
 *
 * Nobody sleeps for a pin holding an entry or a transaction, and copies to or from user memory
 * happen under io locks at most, since they may fault on any window.
 */
export const Rank = {
  directory: 1,
  io: 2,
  writeBack: 3,
  map: 4,
  transaction: 5,
  entry: 6,
} as const;
export type Rank = (typeof Rank)[keyof typeof Rank];
