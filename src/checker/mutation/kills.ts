/**
 * Which scenario killed which mutant, kept in a file: by the core's files, a line for each mutant. A run tries
 * these scenarios first, so that only what is new has to be searched for; and a reader sees who guards what.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Mutant } from "./mutants.ts";
import type { Verdict } from "./run.ts";
import { explanationOf } from "./survivors/index.ts";

type KillsOfFile = Record<string, string>;

export class Kills {
  readonly #path: string;
  readonly #files: Record<string, KillsOfFile>;

  private constructor(path: string, files: Record<string, KillsOfFile>) {
    this.#path = path;
    this.#files = files;
  }

  /** Throws: an error when there is a file, but it is not JSON. */
  static read(path: string): Kills {
    return new Kills(path, existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {});
  }

  /** The scenario, or null when none is known. */
  killerOf(mutant: Mutant): string | null {
    return this.#files[mutant.file]?.[keyOf(mutant)] ?? null;
  }

  /** Scenarios that are named. */
  get scenarios(): string[] {
    return [...new Set(Object.values(this.#files).flatMap((kills) => Object.values(kills)))];
  }

  /** Mutants that neither a scenario nor an explanation is known for. */
  open(mutants: readonly Mutant[]): Mutant[] {
    return mutants.filter(
      (mutant) => this.killerOf(mutant) === null && explanationOf(mutant) === null,
    );
  }

  /** Writes the file anew. `isWhole`: every scenario was tried, so that what was not killed lives. */
  note(verdicts: readonly Verdict[], isWhole: boolean): void {
    const noted: Record<string, KillsOfFile> = {};
    for (const { mutant, killedBy } of verdicts) {
      noted[mutant.file] ??= {};
      const killer = killedBy ?? (isWhole ? null : this.killerOf(mutant));
      if (killer !== null) noted[mutant.file]![keyOf(mutant)] = killer;
    }
    Object.assign(this.#files, noted);
    const sorted = Object.entries(this.#files).sort(([left], [right]) => (left < right ? -1 : 1));
    const written = `${this.#path}.new`; // so that a run that is killed leaves what there was
    writeFileSync(written, `${JSON.stringify(Object.fromEntries(sorted), null, 1)}\n`);
    renameSync(written, this.#path);
  }
}

function keyOf({ function: name, what }: Mutant): string {
  return `${name}: ${what}`;
}
