/** Where the built modules lie, and the same modules for the checker. */
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { builtModule } from "../../base/modules.ts";

/** The sources without their types, everything else as it was written: what is instrumented. */
const checkedRoot = builtModule("checked/");

/** A module of the checked sources, by its path: "sync/lock.js". */
export function checkedModule(path: string): URL {
  return new URL(path, checkedRoot);
}

/** The path of a module of the checked sources, or null for any other module. */
export function checkedPath(href: string): string | null {
  return href.startsWith(checkedRoot.href) ? href.slice(checkedRoot.href.length) : null;
}

/** A module's path as people know it: "pin/pin.ts". */
export function shownPath(href: string): string {
  return checkedPath(href)?.replace(/\.js$/, ".ts") ?? basename(fileURLToPath(href));
}
