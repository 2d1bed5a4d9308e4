import { setImmediate } from "node:timers/promises";

/**
 * Ends this turn of the event loop. A test that mounts thousands of volumes does it now and then: until then all their
 * memory is kept, and each program that the process starts takes longer, since its page tables are copied.
 */
export const endTurn = (): Promise<void> => setImmediate();
