// What quota files say, by debugfs, which reads them as their format's library does.

import { runOk } from "../../support/tools.ts";

export type Counted = Record<number, readonly [space: number, inodes: number]>;

/** What debugfs reads in a quota file, without those that have nothing. */
export function countedIn(path: string, kind: "user" | "group" | "project"): Counted {
  const counted: Counted = {};
  for (const line of runOk("debugfs", ["-R", `list_quota ${kind}`, path]).split("\n")) {
    const [id, space, , , inodes] = line.trim().split(/\s+/).map(Number);
    if (id === undefined || !Number.isInteger(id) || inodes === undefined) continue;
    if (space !== 0 || inodes !== 0) counted[id] = [space!, inodes];
  }
  return counted;
}
