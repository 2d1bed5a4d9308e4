/** What a run prints: the live line, the table, the explanation, and the line of JSON. */
import { formatBytes, formatCount, formatMs, plural, type Terminal } from "../terminal.ts";
import type { Outcome } from "./run.ts";
import {
  ACCESS_KINDS,
  CUT_KINDS,
  type CutKind,
  type Finding,
  IO_KINDS,
  type IoKind,
  type Tally,
  TROUBLE_KINDS,
  type TroubleKind,
} from "./tally.ts";

const FINDINGS_PRINTED_MAX = 10;

/** Whether nothing is wrong. */
export function isClean(outcome: Outcome): boolean {
  return outcome.findings.length === 0;
}

/** The line that is rewritten while the run goes on. */
export function progressLine(
  seconds: number,
  secondsWanted: number,
  tally: Tally,
  findings: readonly Finding[],
): string {
  const { count, bytes } = tally.ioTotal;
  const found = findings.length === 0 ? "nothing found" : `${findings.length} FOUND`;
  return [
    `${seconds.toFixed(1)} of ${secondsWanted} s`,
    plural(count, "I/O"),
    formatBytes(bytes),
    plural(tally.cutTotal, "layout change"),
    `${formatCount(tally.waits.count)} waited`,
    found,
  ].join("   ");
}

type Row = readonly [string, string, string?];

/** The table at the end. */
export function printTable(outcome: Outcome, terminal: Terminal): void {
  const { tally } = outcome;
  terminal.print(title(outcome));
  section(terminal, ["I/O", "times", "bytes"], ioRows(outcome));
  section(terminal, ["Other access", "times", "bytes"], kindRows(tally, ACCESS_KINDS));
  section(terminal, ["Layout changes", "times"], cutRows(tally));
  if (outcome.options.mix === "full") section(terminal, ["Troubles", "times"], troubleRows(tally));
  const { waits, pinned } = tally;
  terminal.print();
  terminal.print(quantiles("Layout changes that waited", waits));
  terminal.print(quantiles("I/Os held their pages", pinned));
  line(terminal, "Waits for pins", formatCount(outcome.pinWaits));
  line(terminal, "Page faults served", formatCount(outcome.faults));
  line(terminal, "Windows revoked", formatCount(outcome.revocations));
  line(terminal, "Refused as expected", refusals(tally));
  terminal.print();
  const { survey } = outcome;
  const atEnd = `${formatCount(survey.blocks)} at the end`;
  line(terminal, "Blocks checked", `${formatCount(tally.blocksJudged)} during the run, ${atEnd}`);
  count(terminal, "Torn I/Os", tally.tornIos);
  count(terminal, "Foreign blocks", tally.foreignBlocks + survey.foreignBlocks);
  count(terminal, "Stale windows", tally.staleWindows);
  count(terminal, "Blocks left half written", tally.unfinishedBlocks);
  count(terminal, "Leaked pins", outcome.leakedPins);
  line(terminal, "Blocks free", freeBlocks(outcome));
  if (outcome.options.driver === "ext4") line(terminal, "e2fsck -fn", verdict(outcome));
  if (outcome.image !== null) line(terminal, "Image kept", outcome.image);
  terminal.print();
  printConclusion(outcome, terminal);
}

function title({ options, volumeMade, seconds, interrupted }: Outcome): string {
  const parts = [
    `${options.driver} volume of ${formatBytes(options.volumeBytes)} (${volumeMade})`,
    plural(options.threads, "thread"),
    `${seconds.toFixed(1)} s${interrupted ? ", interrupted" : ""}`,
    `seed ${options.seed}`,
  ];
  if (options.mix === "full") parts.push("full mix");
  if (!options.protect) parts.push("PROTECTION OFF");
  return parts.join(", ");
}

const LABEL_WIDTH = 28;

function section(terminal: Terminal, head: Row, rows: readonly Row[]): void {
  terminal.print();
  terminal.print(terminal.style("bold", columns(head)));
  for (const [label, ...cells] of rows) terminal.print(columns([`  ${label}`, ...cells] as Row));
}

function columns([label, first, second]: Row): string {
  const cells = `${label.padEnd(LABEL_WIDTH)}${first.padStart(12)}`;
  return second === undefined ? cells : `${cells}${second.padStart(12)}`;
}

function ioRows({ tally, options }: Outcome): Row[] {
  const { count, bytes } = tally.ioTotal;
  const { underLease: _, ...basic } = IO_KINDS;
  const kinds = options.mix === "full" ? IO_KINDS : basic;
  return [...kindRows(tally, kinds), ["all", formatCount(count), formatBytes(bytes)]];
}

function kindRows(tally: Tally, kinds: Readonly<Partial<Record<IoKind, string>>>): Row[] {
  return Object.entries(kinds).map(([kind, label]) => {
    const { count, bytes } = tally.io(kind as IoKind);
    return [label, formatCount(count), bytes === 0 ? "" : formatBytes(bytes)];
  });
}

function cutRows(tally: Tally): Row[] {
  const kinds = Object.keys(CUT_KINDS) as CutKind[];
  const rows = kinds
    .filter((kind) => tally.cuts(kind) > 0 || !SHARING_KINDS.includes(kind))
    .map((kind): Row => [CUT_KINDS[kind], formatCount(tally.cuts(kind))]);
  return [...rows, ["all", formatCount(tally.cutTotal)]];
}

function troubleRows(tally: Tally): Row[] {
  return (Object.keys(TROUBLE_KINDS) as TroubleKind[]).map(
    (kind): Row => [TROUBLE_KINDS[kind], formatCount(tally.troubles(kind))],
  );
}

function quantiles(label: string, histogram: Tally["waits"]): string {
  const figures = [
    formatCount(histogram.count),
    `p50 ${formatMs(histogram.quantileMs(0.5))}`,
    `p99 ${formatMs(histogram.quantileMs(0.99))}`,
    `max ${formatMs(histogram.maxMs)}`,
  ];
  return `${label.padEnd(LABEL_WIDTH)}${histogram.count === 0 ? "none" : figures.join("   ")}`;
}

function line(terminal: Terminal, label: string, text: string): void {
  terminal.print(`${label.padEnd(LABEL_WIDTH)}${text}`);
}

function count(terminal: Terminal, label: string, value: number): void {
  line(terminal, label, terminal.style(value === 0 ? "green" : "red", formatCount(value)));
}

/** Of volumes whose files share blocks. */
const SHARING_KINDS: readonly CutKind[] = ["clone", "dedupe", "unshare"];

const REFUSAL_NAMES: Readonly<Record<string, string>> = {
  ENOSPC: "volume full",
  ENOENT: "name gone",
  EINVAL: "range gone",
  ETIMEDOUT: "given up at a deadline",
  claimed: "range in use",
  EIO: "pages lost",
  EBUSY: "lease recalled",
  ESTALE: "lease expired",
  EDEADLK: "own lease in the way",
  ABORT_ERR: "aborted",
};

function refusals(tally: Tally): string {
  const parts = [...tally.refusals].map(
    ([code, times]) => `${formatCount(times)} ${REFUSAL_NAMES[code] ?? code}`,
  );
  return parts.length === 0 ? "none" : parts.join(", ");
}

function freeBlocks({ blocksFreeBefore, blocksFreeAfter }: Outcome): string {
  const before = `${formatCount(blocksFreeBefore)} before`;
  return blocksFreeAfter === null
    ? `${before}, not counted after`
    : `${before}, ${formatCount(blocksFreeAfter)} after`;
}

function verdict({ verdicts }: Outcome): string {
  if (verdicts.length === 0) return "not reached";
  if (verdicts.every(({ isClean }) => isClean === true)) return "clean";
  const complaints = verdicts.flatMap((each) => each.complaints);
  return complaints.length === 0 ? "not installed, skipped" : (complaints[0] ?? "");
}

/** What was found, or that nothing was. */
function printConclusion(outcome: Outcome, terminal: Terminal): void {
  const { findings, options } = outcome;
  if (findings.length === 0) {
    terminal.print(terminal.style("green", "Nothing wrong was found."));
    if (!options.protect) terminal.print("With --protect=off that is bad luck: let it run longer.");
    return;
  }
  const heading = `Found ${plural(findings.length, "thing")} that must not be:`;
  terminal.print(terminal.style("red", heading));
  for (const finding of findings.slice(0, FINDINGS_PRINTED_MAX)) {
    terminal.print(`  ${(finding.atMs / 1000).toFixed(2)} s  ${finding.kind}: ${finding.message}`);
    if (terminal.debugs && finding.stack !== undefined) terminal.print(finding.stack);
  }
  const more = findings.length - FINDINGS_PRINTED_MAX;
  if (more > 0) terminal.print(`  and ${plural(more, "more", "more")}`);
  terminal.print();
  terminal.print(explanation(outcome));
}

/** Why this happens with protection off, or what it means with protection on. */
function explanation({ options }: Outcome): string {
  if (!options.protect) {
    return [
      "Protection is off: layout changes did not wait for pinned I/O. A truncate or a punched hole freed",
      "blocks that an I/O was still writing into; the allocator gave them to other files, and the late",
      "I/O wrote into those. This is what pins and breaks are there to prevent: see docs/collide.md.",
    ].join("\n");
  }
  return [
    "Protection was on, so this is a fault of Holdfast (or of this machine's memory). Run it again with",
    `--seed ${options.seed} --keep, and report it with the lines above.`,
  ].join("\n");
}

/** The result as one line of JSON. */
export function jsonOf(outcome: Outcome): string {
  const { options, tally } = outcome;
  const quantilesOf = (histogram: Tally["waits"]) => ({
    count: histogram.count,
    p50Ms: histogram.quantileMs(0.5),
    p99Ms: histogram.quantileMs(0.99),
    maxMs: histogram.maxMs,
  });
  const perKind = <Kind extends string, Value>(
    kinds: Record<Kind, string>,
    of: (k: Kind) => Value,
  ) => Object.fromEntries((Object.keys(kinds) as Kind[]).map((kind) => [kind, of(kind)]));
  return JSON.stringify({
    ok: isClean(outcome),
    driver: options.driver,
    mix: options.mix,
    protect: options.protect,
    seed: options.seed,
    threads: options.threads,
    seconds: outcome.seconds,
    interrupted: outcome.interrupted,
    source: options.source,
    volumeBytes: options.volumeBytes,
    volumeMade: outcome.volumeMade,
    image: outcome.image,
    io: perKind(IO_KINDS, (kind) => tally.io(kind)),
    access: perKind(ACCESS_KINDS, (kind) => tally.io(kind)),
    ioTotal: tally.ioTotal,
    layoutChanges: perKind(CUT_KINDS, (kind) => tally.cuts(kind)),
    layoutChangesTotal: tally.cutTotal,
    troubles: perKind(TROUBLE_KINDS, (kind) => tally.troubles(kind)),
    waits: { ...quantilesOf(tally.waits), forPins: outcome.pinWaits },
    pinned: quantilesOf(tally.pinned),
    refusals: Object.fromEntries(tally.refusals),
    faults: outcome.faults,
    revocations: outcome.revocations,
    blocksChecked: { during: tally.blocksJudged, atEnd: outcome.survey.blocks },
    tornIos: tally.tornIos,
    foreignBlocks: tally.foreignBlocks + outcome.survey.foreignBlocks,
    staleWindows: tally.staleWindows,
    unfinishedBlocks: tally.unfinishedBlocks,
    leakedPins: outcome.leakedPins,
    blocksFree: { before: outcome.blocksFreeBefore, after: outcome.blocksFreeAfter },
    e2fsck: outcome.verdicts,
    findings: outcome.findings.map(({ kind, message, atMs }) => ({ kind, message, atMs })),
  });
}
