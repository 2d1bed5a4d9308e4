// Deletes from dist what no longer has a source, so that a file removed from src can neither be
// imported by a test nor be packed.

import { existsSync, rmSync } from "node:fs";
import { dist, filesUnder, sourceFileOf } from "./tree.js";

for (const built of filesUnder(dist)) {
  if (!existsSync(sourceFileOf(built))) rmSync(built);
}
