// Where our check and e2fsck -fn do not agree on whether a volume is clean, and why that is right.

import type { Refereed } from "./referee.ts";

interface Difference {
  readonly why: string;
  /** Which of the two finds something. */
  readonly stricter: "ours" | "theirs";
  applies(refereed: Refereed): boolean;
}

/** All that is found is of these codes. */
const only =
  (...codes: string[]) =>
  ({ report }: Refereed): boolean =>
    report.findings.length > 0 && report.findings.every(({ code }) => codes.includes(code));

/** The first of what is found has this code, and its text matches; the rest follows from it. */
const first =
  (code: string, text: RegExp) =>
  ({ report }: Refereed): boolean =>
    report.findings.some((finding) => finding.code === code && text.test(finding.text));

export const DIFFERENCES: readonly Difference[] = [
  {
    why: "with -n e2fsck does not look at the list of orphans",
    stricter: "ours",
    applies: only("orphan-list", "orphan-inode"),
  },
  {
    why: "e2fsck does not compare a node's depth with its parent's; the kernel refuses to read such a file",
    stricter: "ours",
    applies: first("extent-header", /eh_depth/),
  },
  {
    why: "e2fsck passes over wrong pointers in the resize inode that are not 0 and lie in the volume",
    stricter: "ours",
    applies: only("resize-inode"),
  },
  {
    why: "e2fsck does not compare a node of a directory's index with the range that its parent gives it",
    stricter: "ours",
    applies: only("index-node", "entry-hash"),
  },
  {
    why: "e2fsck looks for a name that comes twice in one block at a time",
    stricter: "ours",
    applies: only("entry-duplicate"),
  },
  {
    why: "e2fsck takes no notice of fields of an index's root that nobody reads; the driver refuses such an index",
    stricter: "ours",
    applies: only("index-root"),
  },
  {
    why: "e2fsck passes over a quota file whose head is wrong; the kernel refuses to count then",
    stricter: "ours",
    applies: first("quota-file", /dqh_magic|dqh_version|dqi_blocks/),
  },
  {
    why: "e2fsck takes the journal's map from the superblock where its inode is not in use; the kernel does not",
    stricter: "ours",
    applies: first("journal-inode", /is not in use/),
  },
  {
    why: "e2fsck compares the times of the last mount and write with the clock; here no clock is asked",
    stricter: "theirs",
    applies: ({ said }) =>
      /is in the future\.\nFix\? no/.test(said) && said.match(/\? no$/gm)?.length === 1,
  },
];

/** What is wrong about two answers; null where they agree, or differ as they may. */
export function disagreement(refereed: Refereed, seen: Map<string, number>): string | null {
  const { ours, theirs, report, said } = refereed;
  // Whether e2fsck gives up early or goes on after bad damage is its own affair: both say that it is there.
  if ((ours === "clean") === (theirs === "clean")) return null;
  const stricter = ours === "clean" ? "theirs" : "ours";
  const allowed = DIFFERENCES.find((each) => each.stricter === stricter && each.applies(refereed));
  if (allowed !== undefined) {
    seen.set(allowed.why, (seen.get(allowed.why) ?? 0) + 1);
    return null;
  }
  const found = report.findings.slice(0, 5).map(({ code, text }) => `${code}: ${text}`);
  return `ours ${ours}: ${found.join("\n  ")}\ntheirs ${theirs}: ${said.slice(0, 600)}`;
}

/** One line for each allowed difference that was met. */
export function differencesMet(seen: ReadonlyMap<string, number>): string {
  return [...seen].map(([why, count]) => `  ${count} differ: ${why}\n`).join("");
}
