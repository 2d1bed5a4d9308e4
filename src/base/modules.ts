/** Where the built modules lie: one that a thread begins with is loaded by its address. */
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The build has this module one folder below its root, packed (scripts/pack-library.js) or not. */
const root = pathToFileURL(`${dirname(dirname(fileURLToPath(import.meta.url)))}/`);

/** The address of a built module, by its path below the sources: "fuse/worker.js". */
export function builtModule(path: string): URL {
  return new URL(path, root);
}
