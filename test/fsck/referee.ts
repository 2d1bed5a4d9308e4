// e2fsck as the referee of our check: the same image to both, and what each says.

import { type Finding, type FsckReport, fsckSync } from "../../src/index.ts";
import { run } from "../support/tools.ts";

/** Clean, wrong, or not to be checked at all. */
export type Verdict = "clean" | "errors" | "cannot-check";

export interface Refereed {
  readonly ours: Verdict;
  readonly theirs: Verdict;
  readonly report: FsckReport;
  /** What e2fsck printed, without its summary. */
  readonly said: string;
}

export function e2fsckVerdict(image: string): { verdict: Verdict; said: string } {
  const { code, stdout, stderr } = run("e2fsck", ["-f", "-n", image], "");
  if (code === null) throw new Error(`e2fsck ended by a signal\n${stdout}${stderr}`);
  const said = `${stdout}${stderr}`
    .split("\n")
    .filter((line) => !/^(Pass \d|e2fsck 1\.)/.test(line) && line.trim() !== "")
    .join("\n");
  // Of some things it asks whether to repair them, and does not call them errors. What it asks whether to
  // optimize is not wrong.
  const wouldRepair = /(?<!Optimize)\? no$/m.test(said);
  if ((code & 4) !== 0 || (code === 0 && wouldRepair)) return { verdict: "errors", said };
  return { verdict: code === 0 ? "clean" : "cannot-check", said };
}

export function referee(image: string): Refereed {
  // e2fsck -n passes over a journal that waits to be replayed.
  const report = fsckSync(image, { replay: false });
  const { verdict, said } = e2fsckVerdict(image);
  return { ours: report.verdict, theirs: verdict, report, said };
}

/** The codes of the findings, each once. */
export function codesOf(report: FsckReport): string[] {
  return [...new Set(report.findings.map(({ code }) => code))].sort();
}

export function shown(findings: readonly Finding[]): string {
  return findings.map(({ code, text, path }) => `  ${code}: ${text} (${path ?? "-"})`).join("\n");
}
