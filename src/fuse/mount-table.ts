/** What is mounted where, as /proc/self/mountinfo says it. Source: proc(5). */
import { readFileSync } from "node:fs";

export interface MountEntry {
  /** The directory, absolute. */
  readonly directory: string;
  /** "fuse.holdfast", "ext4". */
  readonly type: string;
  /** What is mounted: an image, a device. */
  readonly source: string;
  /** The number that files there have as their device: "0:52". */
  readonly device: string;
  /** "ro", "nosuid", "sync", "user_id=0": the mount's own, and the filesystem's. */
  readonly options: readonly string[];
}

/** Blanks, newlines and backslashes are written as octal numbers there. */
function unescaped(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_all, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** All mounts, those that others hide before these. */
export function mountTable(): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const [before, after] = line.split(" - ");
    if (before === undefined || after === undefined) continue;
    const [, , device, , directory, own] = before.split(" ") as string[];
    const [type, source, shared] = after.split(" ") as string[];
    entries.push({
      directory: unescaped(directory!),
      type: type!,
      source: unescaped(source!),
      device: device!,
      options: [...new Set(`${own},${shared}`.split(","))],
    });
  }
  return entries;
}

/** What is mounted on a directory, uppermost; or null. */
export function mountOn(directory: string): MountEntry | null {
  return mountTable().findLast((entry) => entry.directory === directory) ?? null;
}
