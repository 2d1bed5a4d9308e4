/** Showing pages in windows. The map lock is held, shared at least. */
import { type Address, PAGE_SIZE } from "../base/quantities.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { Event } from "../sync/trace.ts";
import { tracePages } from "../window/trace.ts";
import type { LostCause, Window } from "../window/window.ts";
import type { Dax } from "./dax.ts";

/**
 * Shows pages [first, end) of the file in every window over them, or in those that `wanted` says;
 * `devicePage` is the first one's.
 */
export function showInWindows(
  dax: Dax,
  mapping: Mapping,
  first: number,
  end: number,
  devicePage: number,
  wanted: (window: Window) => boolean = () => true,
): void {
  const { windows } = dax;
  windows.forEachWindow(mapping, (window) => {
    if (!wanted(window)) return;
    const base = windows.firstPage(window);
    const from = Math.max(base, first);
    const to = Math.min(base + windows.pages(window), end);
    if (from < to) showDevicePages(dax, window, from, to - from, devicePage + (from - first));
  });
}

/**
 * Shows pages [index, index + count) of the file in a window, bad ones as lost, and notes first that it
 * shows them. They have an owner, by whom a report finds them that this does not see.
 */
export function showDevicePages(
  dax: Dax,
  window: Window,
  index: number,
  count: number,
  devicePage: number,
): void {
  const { pages, windows } = dax;
  const mode = windows.isWritable(window) ? "shared" : "private";
  windows.noteShown(window, index, index + count - 1);
  if (pages.deviceState.isGone) {
    for (let lost = 0; lost < count; lost++) showLost(dax, window, index + lost, "removed");
    return;
  }
  for (let at = 0; at < count; ) {
    const bad = pages.bad.find(devicePage + at, devicePage + count - 1);
    const end = bad === null ? count : bad.first - devicePage;
    if (end > at) {
      const address = addressOfPage(dax, window, index + at);
      const length = (end - at) * PAGE_SIZE;
      tracePages(dax.thread, Event.insertMapping, window, index + at, end - at, devicePage + at);
      const { storage, at: from } = dax.storageOf(devicePage + at);
      windows.port.show(address, storage, from, length, mode);
    }
    if (bad === null) return;
    at = bad.last + 1 - devicePage;
    for (let lost = end; lost < at; lost++) showLost(dax, window, index + lost, "poisoned");
  }
}

/** Shows zeroes that are nobody's, and notes it. For the pager, or with the map lock exclusively. */
export function showLost(
  dax: Dax,
  window: Window,
  index: number,
  cause: LostCause | null = null,
): void {
  const { windows } = dax;
  windows.noteShown(window, index, index);
  windows.noteLost(window, index, cause);
  windows.port.showLost(addressOfPage(dax, window, index), PAGE_SIZE);
}

/**
 * Takes pages [first, last] of the file out of every window: the next touch finds them lost. Where
 * nothing can fault they are shown as lost at once. Locks: the map lock, exclusively.
 */
export function loseInWindows(dax: Dax, mapping: Mapping, first: number, last: number): void {
  const { windows } = dax;
  windows.revoke(mapping, first, last);
  if (!windows.port.faults) loseShown(dax, mapping, first, last, "poisoned");
}

/** Shows pages [first, last] of the file as lost in every window over them. */
export function loseShown(
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
  cause: LostCause | null,
): void {
  dax.windows.forEachWindow(mapping, (window) => loseIn(dax, window, first, last + 1, cause));
}

/** Shows pages [first, end) of the file, as far as the window has them, as lost. Locks: as `showLost`. */
export function loseIn(
  dax: Dax,
  window: Window,
  first: number,
  end: number,
  cause: LostCause | null,
): void {
  const base = dax.windows.firstPage(window);
  const to = Math.min(end, base + dax.windows.pages(window));
  for (let index = Math.max(first, base); index < to; index++) showLost(dax, window, index, cause);
}

/** Notes that windows that cannot fault have lost all they showed. Locks: the map lock, exclusively. */
export function loseAllInWindows(dax: Dax, mapping: Mapping): void {
  const { windows } = dax;
  windows.forEachWindow(mapping, (window) => {
    const base = windows.firstPage(window);
    for (let page = 0; page < windows.pages(window); page++) {
      windows.noteLost(window, base + page, "removed");
    }
  });
}

export function addressOfPage(dax: Dax, window: Window, index: number): Address {
  const within = index - dax.windows.firstPage(window);
  return (dax.windows.address(window) + within * PAGE_SIZE) as Address;
}
