/*
 * Two fast pins against one truncate, on the only page of a file: the protocol by hand, for SPIN.
 *
 * Each statement is one access to shared memory: a load with the test of what it gave, a store, or
 * a read-modify-write (`d_step`; its guard tests the value before). SPIN's memory is sequentially
 * consistent, as Atomics are.
 *
 *     here                         source
 *     actor                        pin/pin.ts      tryPin, countInEpoch, releasePin
 *       epoch[_pid]++              sync/guard.ts   enterEpoch, leaveEpoch
 *       pins-- and what follows    pages/pages.ts  Pages.releaseNoting, wakeWaiters
 *     truncate                     layout/break.ts withBrokenLayout, announce, findBusy
 *       seeLeave                   sync/guard.ts   synchronize, for one thread
 *       entry = 0 to freed = 1     dax/layout-change.ts removePages, freeBlocks;
 *                                  pages/pages.ts  Pages.disassociate
 *       after the busy withdraw    layout/break.ts waitForPage; pages/pages.ts Pages.prepareWait
 *     asleep = 1, asleep = 0       sync/atomics.ts sleepWhile, wakeAll
 *
 * Checked. (1) Nobody does I/O to a block that is free.
 *          (2) A page is disassociated only when no pin is counted: the busy canary.
 *          (3) No page is released more than pinned.
 *          (4) Every process comes to its end: no wake is lost.
 *
 * Abstracted. The slow path: whoever's fast pin fails gives up. The locks: nobody else takes them,
 * so one step each. The announced range: every range is the page. The tree and its marks: the page
 * is marked pinned throughout. Pin records, death and recovery, windows, patience. Time: a wait
 * ends only by what it waits for. The look at the count and the owner after a sleep: the break
 * starts again in any case.
 *
 * NO_EPOCH_WAIT leaves synchronize out: a pin may then be counted after the break has looked.
 */
#define ACTORS 2
#define WAITED 64
#define COUNT (pins & ~WAITED)

byte epoch[ACTORS];
bit breakHolder;
bit entry = 1;
byte pins;
bit ioLock;
bit mapLock;
/* Whether truncate sleeps on the pin count. */
bit asleep;
/* Ghost: the block is in the free pool. */
bit freed;

active [ACTORS] proctype actor() {
  epoch[_pid]++;
  if
  :: breakHolder != 0 -> epoch[_pid]++
  :: else ->
    if
    :: entry == 0 -> epoch[_pid]++
    :: else ->
      pins++;
      epoch[_pid]++;
      assert(!freed);
      if
      :: d_step { pins == (WAITED | 1) -> pins-- };
        pins = pins & ~WAITED;
        asleep = 0
      :: d_step { pins != (WAITED | 1) -> assert(COUNT > 0); pins-- }
      fi
    fi
  fi
}

inline seeLeave(id) {
  if
  :: (epoch[id] & 1) == 0
  :: d_step { (epoch[id] & 1) != 0 -> seen = epoch[id] };
    epoch[id] != seen
  fi
}

inline withdraw() {
  breakHolder = 0;
  mapLock = 0;
  ioLock = 0
}

active proctype truncate() {
  byte seen;
again:
  ioLock = 1;
  mapLock = 1;
  breakHolder = 1;
#ifndef NO_EPOCH_WAIT
  seeLeave(0);
  seeLeave(1);
#endif
  if
  :: COUNT == 0 ->
    entry = 0;
    assert(COUNT == 0);
    freed = 1;
    withdraw()
  :: else ->
    withdraw();
    if
    :: COUNT == 0 -> goto again
    :: else
    fi;
    if
    :: d_step { COUNT == 0 -> pins = WAITED };
      if
      :: d_step { pins == WAITED -> pins = 0 }
      :: else
      fi;
      goto again
    :: d_step { COUNT != 0 -> pins = pins | WAITED; seen = pins }
    fi;
    if
    :: d_step { pins == seen -> asleep = 1 };
      asleep == 0
    :: else
    fi;
    goto again
  fi
}
