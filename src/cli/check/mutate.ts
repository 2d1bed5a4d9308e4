/** `holdfast check --mutate`: which weakenings of the core no scenario notices. */
import { Kills } from "../../checker/mutation/kills.ts";
import { type Mutant, mutatedFiles } from "../../checker/mutation/mutants.ts";
import { MutationRun, mutationScenarios, type Verdict } from "../../checker/mutation/run.ts";
import { explanationOf } from "../../checker/mutation/survivors/index.ts";
import { formatMs, plural, type Terminal } from "../terminal.ts";
import { EXIT_FOUND, EXIT_OK, UsageError } from "../usage.ts";
import { untilInterrupted } from "../interrupt.ts";
import type { CheckCommandOptions } from "./options.ts";

/** In each scenario of a mutant that is not killed at once, unless told otherwise: some seconds at most. */
export const MUTANT_SCHEDULES = 2000;

/** Between two writes of the kills while a run goes on. */
const KEEP_MS = 30_000;

export async function mutate(options: CheckCommandOptions, terminal: Terminal): Promise<number> {
  const files = filesOf(options.mutate!);
  const scenarios = scenariosOf(options.scenarios);
  const kills = options.kills === undefined ? null : Kills.read(options.kills);
  const start = performance.now();
  let kept = start;
  let verdicts: readonly Verdict[] = [];
  try {
    const interrupted = await untilInterrupted(async (signal) => {
      const onProgress = (round: string, done: number, all: number, killed: number): void => {
        const line = `${round}: ${done} of ${plural(all, "scenario")}, ${killed} killed`;
        if (done === all) terminal.note(line);
        else terminal.live(line);
        if (performance.now() - kept < KEEP_MS) return;
        kept = performance.now();
        kills?.note(run.verdicts, false);
      };
      const { schedules = MUTANT_SCHEDULES, seconds, threads } = options;
      const limits = { schedules, seconds, threads, signal, onProgress };
      const run = new MutationRun(files, limits, scenarios);
      await run.run(
        kills && { killerOf: (mutant) => kills.killerOf(mutant), isTrusted: options.open },
      );
      verdicts = run.verdicts;
    });
    kills?.note(verdicts, !interrupted && options.scenarios.length === 0);
  } finally {
    terminal.endLive();
  }
  const alive = verdicts.filter(({ killedBy }) => killedBy === null);
  const hanging = verdicts.filter(({ hangs }) => hangs).length;
  const unexplained = alive.filter(({ mutant }) => explanationOf(mutant) === null);
  if (options.json) for (const verdict of verdicts) printJson(verdict, terminal);
  else {
    for (const verdict of unexplained) printSurvivor(verdict, terminal);
    terminal.print(
      `${plural(verdicts.length, "mutant")} in ${formatMs(performance.now() - start)}: ` +
        `${verdicts.length - alive.length} killed, ${hanging} of them by a scenario that hangs, ` +
        `${alive.length - unexplained.length} explained and not tried, ` +
        `${unexplained.length} survive`,
    );
  }
  return unexplained.length === 0 ? EXIT_OK : EXIT_FOUND;
}

/** Throws: UsageError for a file that is not mutated. */
function filesOf(named: string): readonly string[] {
  const files = mutatedFiles();
  if (named === "all") return files;
  const found = files.filter((file) => file === named || file.startsWith(`${named}/`));
  if (found.length > 0) return found;
  throw new UsageError(`--mutate takes all, or a folder or file of the core: ${files.join(", ")}`);
}

/** Throws: UsageError for a scenario that there is not. */
function scenariosOf(named: readonly string[]): readonly string[] {
  const all = mutationScenarios();
  const unknown = named.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new UsageError(`there is no scenario '${unknown}'; see --list`);
  return named.length === 0 ? all : named;
}

function printJson({ mutant, killedBy, hangs, reachedBy }: Verdict, terminal: Terminal): void {
  const why = killedBy === null ? (explanationOf(mutant)?.why ?? null) : null;
  terminal.print(JSON.stringify({ ...mutant, killedBy, hangs, reachedBy, why }));
}

function printSurvivor({ mutant, reachedBy }: Verdict, terminal: Terminal): void {
  const reach = reachedBy === 0 ? "  (no scenario comes here)" : "";
  terminal.print(terminal.style("bold", headingOf(mutant)));
  terminal.print(`  ${mutant.what}${terminal.style("yellow", reach)}`);
}

function headingOf({ file, function: name }: Mutant): string {
  return `${file}: ${name}`;
}
