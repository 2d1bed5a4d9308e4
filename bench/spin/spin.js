// SPIN on the pin/truncate protocol, modelled by hand in pin-truncate.pml: how long it takes to
// explore all of it, and to find the planted bug (NO_EPOCH_WAIT). Verifiers are compiled as SPIN's
// manual advises for safety properties.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { at } from "../measure.js";

/**
 * Searches include the start of the verifier's process, and are the median of several runs.
 *
 * @typedef {object} SpinFigures
 * @property {number} compileSeconds To generate and compile the verifier of the correct model.
 * @property {number} exhaustSeconds To explore all of the correct model.
 * @property {number} exhaustStates States it has, with partial-order reduction.
 * @property {number} fullSeconds As `exhaustSeconds`, without the reduction.
 * @property {number} fullStates As `exhaustStates`, without the reduction.
 * @property {number} bugSeconds To find the planted bug.
 * @property {number} bugDepth Steps before the one that fails, in the first schedule found.
 */

const MODEL = "pin-truncate.pml";
const RUNS = 11;
/**
 * A hash table of 2^16 places, many times the states. To clear the default one, of 128 MiB, takes
 * far longer than the search.
 */
const SEARCH = ["-w16"];

/**
 * Runs a program to its end. Returns what it printed, and the wall time.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} directory
 */
function run(program, args, directory) {
  const start = performance.now();
  const { error, status, signal, stdout, stderr } = spawnSync(program, args, {
    cwd: directory,
    encoding: "utf8",
  });
  const seconds = (performance.now() - start) / 1000;
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(`${program} ended with ${status ?? signal}: ${stdout}${stderr}`);
  return { text: stdout + stderr, seconds };
}

/**
 * Generates and compiles a verifier in `directory`. Returns the wall time.
 * @param {string} directory
 * @param {readonly string[]} modelFlags For the model.
 * @param {readonly string[]} verifierFlags For the verifier.
 */
function compile(directory, modelFlags, verifierFlags) {
  const generated = run("spin", ["-Pcc -E -x c", ...modelFlags, "-a", MODEL], directory);
  const flags = ["-O2", "-DSAFETY", ...verifierFlags];
  const compiled = run("cc", [...flags, "-o", "pan", "pan.c"], directory);
  return generated.seconds + compiled.seconds;
}

/**
 * Runs the verifier in `directory`. Returns its last report, and the median wall time.
 * @param {string} directory
 */
function search(directory) {
  const runs = Array.from({ length: RUNS }, () => run(join(directory, "pan"), SEARCH, directory));
  const times = runs.map(({ seconds }) => seconds).sort((a, b) => a - b);
  return { text: at(runs, RUNS - 1).text, seconds: at(times, (RUNS - 1) / 2) };
}

/**
 * The number that the verifier printed in a certain place.
 * @param {string} text
 * @param {RegExp} pattern
 */
function numberIn(text, pattern) {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`SPIN did not print ${pattern}:\n${text}`);
  return Number(found);
}

/** @param {string} directory */
function explore(directory) {
  const { text, seconds } = search(directory);
  const errors = numberIn(text, /errors: (\d+)/);
  if (errors !== 0 || /Search not completed|max search depth too small/.test(text)) {
    throw new Error(`SPIN does not find the model correct:\n${text}`);
  }
  return { seconds, states: numberIn(text, /(\d+) states, stored/) };
}

/** @param {string} directory */
function findBug(directory) {
  const { text, seconds } = search(directory);
  if (numberIn(text, /errors: (\d+)/) === 0) {
    throw new Error(`SPIN does not find the planted bug:\n${text}`);
  }
  return { seconds, depth: numberIn(text, /assertion violated .*\(at depth (\d+)\)/) };
}

/**
 * @param {string} directory
 * @returns {SpinFigures}
 */
function measure(directory) {
  const compileSeconds = compile(directory, [], []);
  const reduced = explore(directory);
  compile(directory, [], ["-DNOREDUCE"]);
  const full = explore(directory);
  compile(directory, ["-DNO_EPOCH_WAIT"], []);
  const bug = findBug(directory);
  return {
    compileSeconds,
    exhaustSeconds: reduced.seconds,
    exhaustStates: reduced.states,
    fullSeconds: full.seconds,
    fullStates: full.states,
    bugSeconds: bug.seconds,
    bugDepth: bug.depth,
  };
}

/**
 * Measures SPIN. Null, with the reason printed, where it cannot be run.
 * Throws: when SPIN finds an error in the correct model, or none in the wrong one.
 */
export function runSpin() {
  for (const [program, flag, what] of /** @type {const} */ ([
    ["spin", "-V", "SPIN (Debian: spin)"],
    ["cc", "--version", "a C compiler (Debian: gcc)"],
  ])) {
    if (spawnSync(program, [flag]).error === undefined) continue;
    console.log(`SPIN is not measured: ${what} is not installed`);
    return null;
  }
  const directory = mkdtempSync(join(tmpdir(), "holdfast-spin-"));
  try {
    copyFileSync(new URL(MODEL, import.meta.url), join(directory, MODEL));
    return measure(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
