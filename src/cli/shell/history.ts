/** The lines that were typed before: kept in a file of the user's. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

export const LINES_MAX = 1000;

/** $XDG_STATE_HOME/holdfast/history. */
function historyFile(environment: NodeJS.ProcessEnv): string {
  const state = environment["XDG_STATE_HOME"] || join(homedir(), ".local", "state");
  return join(state, "holdfast", "history");
}

export class History {
  readonly #file: string;
  /** The newest first, as node:readline has them. */
  lines: string[];

  constructor(environment: NodeJS.ProcessEnv) {
    this.#file = historyFile(environment);
    this.lines = readLines(this.#file);
  }

  /** A history that cannot be kept is no reason to fail. */
  save(): void {
    try {
      mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
      const text = [...this.lines].reverse().join("\n");
      writeFileSync(this.#file, text === "" ? "" : `${text}\n`, { mode: 0o600 });
    } catch {
      // Told nowhere: the user is leaving.
    }
  }
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .reverse();
  } catch {
    return [];
  }
}
