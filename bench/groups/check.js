// The checker on the three-actor pin/truncate scenario, which is production code, beside SPIN on the same
// protocol modelled by hand: the time to explore all, and to find the same planted bug.

import { jobOf, runJobs } from "../../dist/checker/pool.js";
import { listScenarios } from "../../dist/checker/registry.js";
import { noEpochWait } from "../../dist/checker/variants/break.js";
import { makeRow } from "../report.js";
import { runSpin } from "../spin/spin.js";

/** @typedef {import("../measure.js").Figure} Figure */
/** @typedef {import("../place.js").Place} Place */

/** @typedef {import("../../dist/checker/check.js").CheckReport} CheckReport */

const NAME = "pin-truncate";
const RUNS = 5;
const SCHEDULES_PER_SECOND_MIN = 50_000;
/** Of an exploration of every interleaving, which has far more: as long as the code needs to be compiled well. */
const LONG_SECONDS = 15;

/**
 * Runs something a few times. Returns the figure of its time, and what the last run gave.
 * @template T
 * @param {string} name
 * @param {() => Promise<{ seconds: number, result: T }>} run
 * @returns {Promise<{ figure: Figure, result: T }>}
 */
async function measureRuns(name, run) {
  /** @type {number[]} */
  const walls = [];
  /** @type {number[]} */
  const cpus = [];
  /** @type {T | undefined} */
  let last;
  for (let round = 0; round < RUNS; round++) {
    const before = process.cpuUsage();
    const { seconds, result } = await run();
    const { user, system } = process.cpuUsage(before);
    walls.push(seconds * 1e9);
    cpus.push((user + system) * 1e3);
    last = result;
  }
  walls.sort((a, b) => a - b);
  cpus.sort((a, b) => a - b);
  const wallNs = walls[Math.floor(RUNS / 2)] ?? 0;
  const cpuNs = cpus[Math.floor(RUNS / 2)] ?? 0;
  const spread = ((walls[RUNS - 2] ?? 0) - (walls[1] ?? 0)) / 2 / wallNs;
  const figure = {
    ...{ name, wallNs, cpuNs, spread, rounds: RUNS },
    ...{ wallSamples: walls, cpuSamples: cpus },
  };
  return { figure, result: /** @type {T} */ (last) };
}

/**
 * Explores as `holdfast check` does: in a thread of its own, which has much room for new objects.
 * @param {import("../../dist/checker/check.js").VariantText | null} variant
 * @param {import("../../dist/checker/pool.js").Job["options"]} [options]
 * @returns {Promise<CheckReport>}
 */
async function explore(variant, options) {
  const place = listScenarios().find(({ scenario }) => scenario.name === NAME);
  if (place === undefined) throw new Error(`there is no scenario '${NAME}'`);
  /** @type {CheckReport | undefined} */
  let report;
  await runJobs([jobOf(place, variant, { shrink: false, ...options })], 1, {
    onReport: (_job, each) => {
      report = each;
    },
    onError: (_job, message) => {
      throw new Error(message);
    },
  });
  return /** @type {CheckReport} */ (report);
}

/** @param {number} value */
function count(value) {
  return Math.round(value).toLocaleString("en");
}

/** @param {string} name @param {number} seconds @returns {Figure} */
function spinFigure(name, seconds) {
  const ns = seconds * 1e9;
  const same = Array.from({ length: RUNS }, () => ns);
  const samples = { wallSamples: same, cpuSamples: same };
  return { name, wallNs: ns, cpuNs: ns, spread: 0, rounds: 11, ...samples };
}

/**
 * @param {Place} _place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureCheck(_place) {
  const all = await measureRuns("holdfast check, the production source", async () => {
    const report = await explore(null);
    if (!report.complete || report.story !== null) throw new Error("pin-truncate is not explored");
    return { seconds: report.seconds, result: report };
  });
  const bug = await measureRuns("holdfast check, the production source", async () => {
    const { name, about, edits } = noEpochWait;
    const report = await explore({ name, about, edits });
    if (report.story === null) throw new Error("the planted bug was not found");
    return { seconds: report.seconds, result: report };
  });
  const { schedules, turns } = all.result;
  const long = await explore(null, { exploration: { strategy: "every" }, seconds: LONG_SECONDS });
  const perSecond = long.schedules / long.seconds;
  const spin = runSpin();
  const rows = [
    makeRow(
      "exhaust pin/truncate",
      all.figure,
      spin === null ? [] : [spinFigure("SPIN, a model by hand", spin.exhaustSeconds)],
    ),
    makeRow(
      "find the missing epoch wait",
      bug.figure,
      spin === null ? [] : [spinFigure("SPIN, a model by hand", spin.bugSeconds)],
    ),
  ];
  const notes = [
    `${count(schedules)} schedules of ${count(turns / schedules)} turns each on average, ` +
      `${count(schedules / (all.figure.wallNs / 1e9))} of them and ` +
      `${count(turns / (all.figure.wallNs / 1e9))} turns a second; in ${LONG_SECONDS} s of --strategy every ` +
      `${count(perSecond)} and ${count(long.turns / long.seconds)}`,
  ];
  if (spin !== null) {
    notes.push(
      `SPIN: ${count(spin.exhaustStates)} states; compiling its verifier takes ` +
        `${spin.compileSeconds.toFixed(2)} s besides; times include the start of its process`,
    );
  }
  return {
    title: "The checker",
    rows,
    aims: [
      {
        text: "at least 50,000 schedules a second on one core",
        measured: `${count(perSecond)} a second`,
        met: perSecond >= SCHEDULES_PER_SECOND_MIN,
      },
    ],
    notes,
  };
}
