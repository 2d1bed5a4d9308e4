export type Event =
  | {
      readonly kind: "store";
      readonly at: number;
      readonly bytes: Uint8Array;
      readonly time: number;
    }
  | { readonly kind: "persist"; readonly at: number; readonly end: number; readonly time: number }
  | { readonly kind: "mark"; readonly mark: number; readonly time: number };

/** Returns the events, a list that grows, and what ends it. */
export function recordDevice(
  device: { readonly prototype: object },
  path: string,
): { readonly events: Event[]; readonly end: () => void };
