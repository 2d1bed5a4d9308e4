/**
 * The area of a mount in the volume's region: what the threads that serve it share.
 *
 * Area, in words:
 *
 *     0 next area of the volume | 1 leader: the holder that has made the mount | 2 last handle of a directory
 *     3 guard of the listings | 4 listings: names that were given, a list (listings.ts) | 5 next place of an interrupt
 *     8..15 slab of lookups (volume/lookups.ts) | 16..23 slab of names in listings
 *     24 reader: a holder, or 0 | 25 turns: how often somebody began to read | 26 whether the mount ends (turns.ts)
 *     32..47 servers: holders of the threads that serve, the leader's first | 48 the recaller (recalls.ts), or 0
 *     49..64 whether each of the servers is parked
 *     72..: requests that are to be interrupted, the last ones: two words of `unique` each
 */
import { SLAB_WORDS } from "../sync/slab.ts";

/** Threads of one mount, at most. */
export const SERVERS_MAX = 16;
/** The place of the thread that passes recalls on, behind those. */
export const RECALLER = SERVERS_MAX;
/** Requests to be interrupted that are remembered: a power of 2. */
export const INTERRUPTS = 256;

export const MountWord = {
  next: 0,
  leader: 1,
  lastHandle: 2,
  listingsGuard: 3,
  listings: 4,
  nextInterrupt: 5,
  lookupSlab: 8,
  nameSlab: 8 + SLAB_WORDS,
  reader: 24,
  turns: 25,
  isEnding: 26,
  servers: 32,
  parked: 32 + SERVERS_MAX + 1,
  interrupts: 72,
} as const;
export const MOUNT_WORDS = MountWord.interrupts + 2 * INTERRUPTS;
