/** What the commands of one `holdfast shell` share. */
import type { Mounted } from "../volume/mount.ts";

export interface Session {
  readonly mounted: Mounted;
  readonly image: string;
  /** Paths that do not begin with a slash begin here. */
  directory: string;
}
