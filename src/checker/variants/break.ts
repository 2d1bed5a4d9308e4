/** Variants of what a layout change does before it lets go of blocks. */
import { variant } from "../variant.ts";

export const noEpochWait = variant({
  name: "no-epoch-wait",
  about: "The break is announced, but pins under way are not waited for: no epoch passes.",
  from: "DESIGN.md 5.4, step 2; get_user_pages_fast against a truncate",
  edits: [{ file: "layout/break.ts", find: "    synchronize(thread);\n", replace: "" }],
  caughtBy: { "pin-truncate": "invariant" },
});
