/** Times are numbers of a clock, in the order of the events. */
export type Event =
  | {
      readonly kind: "store";
      readonly at: number;
      readonly bytes: Uint8Array;
      readonly time: number;
    }
  | {
      readonly kind: "persist";
      readonly at: number;
      readonly end: number;
      /** When it began: what was stored before is on the medium when it has returned. */
      readonly since: number;
      readonly time: number;
    }
  | { readonly kind: "mark"; readonly mark: number; readonly time: number };

/** A counter, in shared memory. */
export type Clock = Int32Array;

export function newClock(): Clock;

/** The next number. */
export function tick(clock: Clock): number;

/** Returns the events, a list that grows, and what ends it. */
export function recordDevice(
  device: { readonly prototype: object },
  path: string,
  clock: Clock,
): { readonly events: Event[]; readonly end: () => void };
