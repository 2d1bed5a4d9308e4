/** A check's report as people read it. */
import type { Finding, FsckReport } from "../../index.ts";
import { formatBytes, formatCount, formatMs, plural, type Terminal } from "../terminal.ts";

/** Prints findings, what was not checked, and the verdict as the last line. */
export function printReport(report: FsckReport, terminal: Terminal): void {
  const { findings, findingsTotal, notices } = report;
  for (const finding of findings) printFinding(finding, terminal);
  const more = findingsTotal - findings.length;
  if (more > 0 && findings.length > 0) {
    terminal.print(
      terminal.style("dim", `and ${formatCount(more)} more; --max N prints N of them`),
    );
  }
  if (findings.length > 0) terminal.print();
  for (const { text } of notices) terminal.print(`${terminal.style("yellow", "note:")} ${text}`);
  terminal.print(verdictOf(report, terminal));
}

function printFinding({ code, path, text }: Finding, terminal: Terminal): void {
  const where = path === null ? "" : ` (${terminal.style("bold", path)})`;
  terminal.print(`${text}${where} ${terminal.style("dim", `[${code}]`)}`);
}

function verdictOf(report: FsckReport, terminal: Terminal): string {
  const { path, verdict, reason, findingsTotal, volume, elapsedMs } = report;
  if (verdict === "cannot-check" || volume === null) {
    return `${path}: ${terminal.style("red", "cannot be checked")}: ${reason}`;
  }
  const found =
    verdict === "clean"
      ? terminal.style("green", "clean")
      : `${terminal.style("red", plural(findingsTotal, "error"))}; e2fsck repairs them`;
  const { inodesUsed, directories, blocks, blockSize } = volume;
  const size = formatBytes(blocks * blockSize);
  const counts = `${plural(inodesUsed, "inode")}, ${plural(directories, "directory", "directories")}`;
  return `${path}: ${found} (${size}, ${counts} in use, checked in ${formatMs(elapsedMs)})`;
}
