// `npm run bench`: measures Holdfast beside its peers and prints what was measured. It judges nothing by
// its exit code: 0 always, 2 for a command line that is wrong.

import { availableParallelism, cpus, loadavg, release } from "node:os";
import { parseArgs } from "node:util";
import { measureAllocation } from "./groups/allocation.js";
import { measureBreak } from "./groups/break.js";
import { measureCheck } from "./groups/check.js";
import { measureDirectory } from "./groups/directory.js";
import { measureFault } from "./groups/fault.js";
import { measureKernel } from "./groups/kernel.js";
import { measureLease } from "./groups/lease.js";
import { measureMetadata } from "./groups/metadata.js";
import { measureMount } from "./groups/mount.js";

import { measurePin } from "./groups/pin.js";
import { measureRandom } from "./groups/random.js";
import { measureSequential } from "./groups/sequential.js";
import { measureTrace } from "./groups/trace.js";
import { measureTruncate } from "./groups/truncate.js";
import { hasMkfs, Place, Unmeasurable } from "./place.js";
import { renderGroup } from "./report.js";

/** @typedef {import("./place.js").Driver} Driver */
/** @typedef {import("./report.js").GroupReport} GroupReport */

const GROUPS = {
  random: measureRandom,
  sequential: measureSequential,
  metadata: measureMetadata,
  directory: measureDirectory,
  allocation: measureAllocation,
  pin: measurePin,
  trace: measureTrace,
  break: measureBreak,
  lease: measureLease,
  fault: measureFault,
  truncate: measureTruncate,
  mount: measureMount,
  check: measureCheck,
  kernel: measureKernel,
};
/** @typedef {keyof typeof GROUPS} GroupName */
const GROUP_NAMES = /** @type {GroupName[]} */ (Object.keys(GROUPS));

const SECONDS_DEFAULT = 1;
const SECONDS_MAX = 600;

const HELP = `Measures Holdfast beside node:fs on tmpfs and beside bare memory, in turns.

Usage: npm run bench -- [OPTIONS]

Options:
  --only GROUP        measure this group; may be given several times   (all)
                      ${GROUP_NAMES.join(", ")}
  --seconds N         for each line, above 0, at most ${SECONDS_MAX}              (${SECONDS_DEFAULT})
  --driver ext4|ram   the volume measured           (ext4 where mkfs.ext4 is, else ram)
  --json              print one line of JSON, and nothing else, on standard output
  --help              this text

What each line means: docs/benchmarks.md. Exit codes: 0 measured, 2 wrong usage.`;

class UsageError extends Error {}

/** @param {string} text */
function groupNamed(text) {
  const group = GROUP_NAMES.find((name) => name === text);
  if (group === undefined) {
    throw new UsageError(`--only is one of ${GROUP_NAMES.join(", ")}, not '${text}'`);
  }
  return group;
}

/** @param {string} text */
function secondsOf(text) {
  const seconds = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
    throw new UsageError(`--seconds takes a number above 0, at most ${SECONDS_MAX}, not '${text}'`);
  }
  return seconds;
}

/**
 * @param {string | undefined} text
 * @returns {Driver}
 */
function driverNamed(text) {
  if (text === undefined) return hasMkfs() ? "ext4" : "ram";
  if (text !== "ext4" && text !== "ram") {
    throw new UsageError(`--driver is ext4 or ram, not '${text}'`);
  }
  if (text === "ext4" && !hasMkfs()) {
    throw new UsageError("--driver ext4 needs mkfs.ext4, of e2fsprogs, which is not installed");
  }
  return text;
}

/** @param {readonly string[]} args */
function readOptions(args) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        only: { type: "string", multiple: true },
        seconds: { type: "string" },
        driver: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    });
    const only = (values.only ?? []).map(groupNamed);
    return {
      help: values.help ?? false,
      json: values.json ?? false,
      groups: GROUP_NAMES.filter((name) => only.length === 0 || only.includes(name)),
      seconds: secondsOf(values.seconds ?? String(SECONDS_DEFAULT)),
      driver: driverNamed(values.driver),
    };
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    if (!String(error.code).startsWith("ERR_PARSE_ARGS")) throw error;
    throw new UsageError(error.message.split(". ")[0]);
  }
}

/** CPU time that all programs of the machine have used, in seconds; 0 where it is not told. */
function machineCpuSeconds() {
  const times = cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq);
  return times.reduce((sum, milliseconds) => sum + milliseconds, 0) / 1000;
}

function ownCpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Measures how busy other programs keep the machine, from now until it is called. */
function watchOthers() {
  const startMs = performance.now();
  const others = () => machineCpuSeconds() - ownCpuSeconds();
  const before = others();
  return () => Math.max(0, (others() - before) / ((performance.now() - startMs) / 1000));
}

/**
 * @param {GroupName} name
 * @param {Place} place
 */
async function measureGroup(name, place) {
  const others = watchOthers();
  try {
    const report = await GROUPS[name](place);
    return { name, ...report, error: null, otherCpus: others() };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const reason =
      error instanceof Unmeasurable ? `not measured: ${message}` : `failed: ${message}`;
    return { name, title: name, rows: [], aims: [], notes: [reason], error: message, otherCpus: 0 };
  }
}

/**
 * What the figures depend on.
 * @param {ReturnType<typeof readOptions>} options
 */
function describeRun({ driver, seconds }) {
  return {
    driver,
    secondsPerLine: seconds,
    node: process.version,
    linux: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    loadAverage: loadavg()[0] ?? 0,
  };
}

/** @param {ReturnType<typeof describeRun>} run */
function renderRun({ driver, secondsPerLine, node, linux, cpu, cores, loadAverage }) {
  const lines = [
    `Holdfast on ${driver}; Node.js ${node}, Linux ${linux}, ${cores} cores (${cpu})`,
    `${secondsPerLine} s for each line. wall and cpu: median time of one operation, cpu of all threads;`,
    "spread: half the distance of the quartiles; ratio: the first line's time over this line's.",
  ];
  if (loadAverage > 1) lines.push(busyText(`the load average is ${loadAverage.toFixed(2)}`));
  return lines.join("\n");
}

/** @param {string} what */
function busyText(what) {
  return `BUSY: ${what}, so other programs disturb the figures; compare cpu rather than wall.`;
}

const OTHER_CPUS_MAX = 0.1;

/** @param {readonly string[]} args */
async function main(args) {
  const options = readOptions(args);
  if (options.help) {
    console.log(HELP);
    return;
  }
  const run = describeRun(options);
  if (!options.json) console.log(renderRun(run));
  const place = new Place(options.driver, options.seconds);
  const groups = [];
  for (const name of options.groups) {
    const group = await measureGroup(name, place);
    groups.push(group);
    if (options.json) continue;
    console.log(renderGroup(group));
    if (group.otherCpus > OTHER_CPUS_MAX) {
      console.log(
        `  ${busyText(`other programs used ${group.otherCpus.toFixed(1)} cores meanwhile`)}`,
      );
    }
  }
  if (options.json) console.log(JSON.stringify({ ...run, groups }));
}

for (const [signal, code] of /** @type {const} */ ([
  ["SIGINT", 130],
  ["SIGTERM", 143],
])) {
  process.on(signal, () => process.exit(code));
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`bench: ${error.message}\nSee: npm run bench -- --help`);
    process.exitCode = 2;
  } else if (error instanceof Unmeasurable) {
    console.error(`bench: not measured: ${error.message}`);
  } else {
    throw error;
  }
}
