/** `holdfast check --mutate`: which weakenings of the core no scenario notices. */
import {
  MUTATED_FILES,
  type Mutant,
  mutantsOf,
  tryMutants,
  type Verdict,
} from "../../checker/mutation.ts";
import { formatMs, plural, type Terminal } from "../terminal.ts";
import { EXIT_FOUND, EXIT_OK, UsageError } from "../usage.ts";
import type { CheckCommandOptions } from "./options.ts";

/** Of each scenario of a mutant. */
export const MUTANT_SECONDS = 1;

export async function mutate(options: CheckCommandOptions, terminal: Terminal): Promise<number> {
  const mutants = filesOf(options.mutate!).flatMap(mutantsOf);
  const survivors: Verdict[] = [];
  let tried = 0;
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once("SIGINT", interrupt);
  const start = performance.now();
  try {
    await tryMutants(
      mutants,
      options.threads,
      MUTANT_SECONDS,
      (verdict) => {
        tried++;
        if (verdict.killedBy === null) survivors.push(verdict);
        if (options.json) terminal.print(JSON.stringify(verdict));
        terminal.live(`${tried} of ${plural(mutants.length, "mutant")}, ${survivors.length} live`);
      },
      stop.signal,
    );
  } finally {
    process.off("SIGINT", interrupt);
    terminal.endLive();
  }
  if (!options.json) {
    printSurvivors(survivors, terminal);
    const killed = tried - survivors.length;
    terminal.print(
      `${plural(tried, "mutant")} tried in ${formatMs(performance.now() - start)}: ` +
        `${killed} killed, ${survivors.length} survive`,
    );
  }
  return survivors.length === 0 ? EXIT_OK : EXIT_FOUND;
}

/** Throws: UsageError for a file that is not mutated. */
function filesOf(named: string): readonly string[] {
  if (named === "all") return MUTATED_FILES;
  if (MUTATED_FILES.includes(named)) return [named];
  throw new UsageError(`--mutate takes all, or one of ${MUTATED_FILES.join(", ")}`);
}

function printSurvivors(survivors: readonly Verdict[], terminal: Terminal): void {
  let shown = "";
  for (const { mutant, reachedBy } of survivors) {
    const heading = headingOf(mutant);
    if (heading !== shown) terminal.print(terminal.style("bold", heading));
    shown = heading;
    const reach = reachedBy === 0 ? "  (no scenario comes here)" : "";
    terminal.print(`  ${mutant.what}${terminal.style("yellow", reach)}`);
  }
}

function headingOf({ file, function: name }: Mutant): string {
  return `${file}: ${name}`;
}
