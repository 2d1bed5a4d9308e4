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
import { untilInterrupted } from "./interrupt.ts";
import type { CheckCommandOptions } from "./options.ts";

/** Of each scenario of a mutant. */
export const MUTANT_SECONDS = 1;

export async function mutate(options: CheckCommandOptions, terminal: Terminal): Promise<number> {
  const mutants = filesOf(options.mutate!).flatMap(mutantsOf);
  let survivors = 0;
  let tried = 0;
  const start = performance.now();
  const onVerdict = (verdict: Verdict): void => {
    tried++;
    if (verdict.killedBy === null) survivors++;
    if (options.json) terminal.print(JSON.stringify(verdict));
    else if (verdict.killedBy === null) printSurvivor(verdict, terminal);
    terminal.live(`${tried} of ${plural(mutants.length, "mutant")}, ${survivors} survive`);
  };
  try {
    await untilInterrupted((signal) =>
      tryMutants(mutants, options.threads, MUTANT_SECONDS, onVerdict, signal),
    );
  } finally {
    terminal.endLive();
  }
  if (!options.json) {
    const killed = tried - survivors;
    terminal.print(
      `${plural(tried, "mutant")} tried in ${formatMs(performance.now() - start)}: ` +
        `${killed} killed, ${survivors} survive`,
    );
  }
  return survivors === 0 ? EXIT_OK : EXIT_FOUND;
}

/** Throws: UsageError for a file that is not mutated. */
function filesOf(named: string): readonly string[] {
  if (named === "all") return MUTATED_FILES;
  if (MUTATED_FILES.includes(named)) return [named];
  throw new UsageError(`--mutate takes all, or one of ${MUTATED_FILES.join(", ")}`);
}

function printSurvivor({ mutant, reachedBy }: Verdict, terminal: Terminal): void {
  const reach = reachedBy === 0 ? "  (no scenario comes here)" : "";
  terminal.print(terminal.style("bold", headingOf(mutant)));
  terminal.print(`  ${mutant.what}${terminal.style("yellow", reach)}`);
}

function headingOf({ file, function: name }: Mutant): string {
  return `${file}: ${name}`;
}
