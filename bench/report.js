// What groups report, and how it is printed.

import { cpuRatio, wallRatio } from "./measure.js";

/** @typedef {import("./measure.js").Figure} Figure */

/**
 * One operation, measured: the subject first, its peers after it.
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {readonly Line[]} lines
 */

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {number} wallNs
 * @property {number} cpuNs
 * @property {number} spread
 * @property {number} rounds
 * @property {number | null} mibPerSecond
 * @property {number | null} wallRatio The subject's time as a multiple of this one's; null for the subject.
 * @property {number | null} cpuRatio The same of CPU time.
 */

/**
 * @typedef {object} Aim
 * @property {string} text What is aimed at.
 * @property {string} measured What was measured.
 * @property {boolean} met
 */

/**
 * @typedef {object} GroupReport
 * @property {string} title
 * @property {Row[]} rows
 * @property {Aim[]} aims
 * @property {string[]} notes
 */

/**
 * @param {string} name
 * @param {Figure} subject
 * @param {readonly Figure[]} peers
 * @param {number} [bytes] Bytes that one operation moves.
 * @returns {Row}
 */
export function makeRow(name, subject, peers, bytes) {
  /** @type {(figure: Figure) => Line} */
  const line = (figure) => ({
    name: figure.name,
    wallNs: figure.wallNs,
    cpuNs: figure.cpuNs,
    spread: figure.spread,
    rounds: figure.rounds,
    mibPerSecond: bytes === undefined ? null : bytes / 2 ** 20 / (figure.wallNs / 1e9),
    wallRatio: figure === subject ? null : wallRatio(subject, figure),
    cpuRatio: figure === subject ? null : cpuRatio(subject, figure),
  });
  return { name, lines: [subject, ...peers].map(line) };
}

/**
 * An aim that bounds the ratio of two figures.
 * @param {string} text
 * @param {Figure} subject
 * @param {Figure} peer
 * @param {number} most
 * @returns {Aim}
 */
export function aimAtRatio(text, subject, peer, most) {
  const ratio = wallRatio(subject, peer);
  const byCpu = cpuRatio(subject, peer);
  const aside = byCpu === null ? "" : ` (${digits(byCpu)} by CPU time)`;
  return { text, measured: `${digits(ratio)} times${aside}`, met: ratio <= most };
}

/**
 * A time with three significant digits and its fitting unit.
 * @param {number} ns
 */
export function formatTime(ns) {
  const size = Math.abs(ns);
  if (size < 1e3) return `${digits(ns)} ns`;
  if (size < 1e6) return `${digits(ns / 1e3)} µs`;
  if (size < 1e9) return `${digits(ns / 1e6)} ms`;
  return `${digits(ns / 1e9)} s`;
}

/**
 * Three significant digits, without an exponent.
 * @param {number} value
 */
function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

const NAME_WIDTH = 46;
const HEAD = ["wall", "cpu", "spread", "MiB/s", "ratio", "by cpu"];
const COLUMN_WIDTH = 10;

/**
 * @param {string} name
 * @param {readonly string[]} cells
 */
function tableLine(name, cells) {
  const padded = cells.map((cell) => cell.padStart(COLUMN_WIDTH)).join("");
  return `${name.padEnd(NAME_WIDTH)}${padded}`.trimEnd();
}

/** @param {GroupReport} report */
export function renderGroup({ title, rows, aims, notes }) {
  const text = ["", title, tableLine("", HEAD)];
  for (const { name, lines } of rows) {
    text.push(`  ${name}`);
    for (const line of lines) {
      text.push(
        tableLine(`    ${line.name}`, [
          formatTime(line.wallNs),
          formatTime(line.cpuNs),
          `±${(line.spread * 100).toFixed(0)} %`,
          line.mibPerSecond === null ? "" : line.mibPerSecond.toFixed(0),
          line.wallRatio === null ? "" : digits(line.wallRatio),
          line.cpuRatio === null ? "" : digits(line.cpuRatio),
        ]),
      );
    }
  }
  for (const { text: aim, measured, met } of aims) {
    text.push(`  aim ${met ? "met" : "NOT MET"}: ${aim}; measured ${measured}`);
  }
  for (const note of notes) text.push(`  ${note}`);
  return text.join("\n");
}
