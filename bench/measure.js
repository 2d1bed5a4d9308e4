// Measuring: contestants take turns, round after round, so that whatever else the machine does falls on
// all of them alike. A figure is the median of the rounds; a ratio is the median of the ratios within
// each round.

/**
 * What is measured against what. `run` does the operation `count` times; what it returns is kept, so
 * that no compiler can leave the work out. A promise is waited for.
 *
 * @typedef {object} Contestant
 * @property {string} name
 * @property {(count: number) => unknown} run
 * @property {number} [count] Operations in a turn, for `takeTurnsOnce`. Default 1.
 * @property {() => void} [before] Prepares a turn. Not measured.
 * @property {() => void} [after] Cleans up after a turn. Not measured.
 * @property {() => Took} [took] What an operation of the turn took, where a program tells it that was run for the turn:
 *   its start is not part of it, then.
 */

/**
 * @typedef {object} Took
 * @property {number} wallNs
 * @property {number} cpuNs
 */

/**
 * @typedef {object} Figure
 * @property {string} name
 * @property {number} wallNs Median time of one operation.
 * @property {number} cpuNs Median CPU time of one operation: all threads of the process, the kernel's
 *   work for them included.
 * @property {number} spread Half of the distance between the quartiles, as a part of the median.
 * @property {number} rounds
 * @property {readonly number[]} wallSamples Time of one operation in ns, by round.
 * @property {readonly number[]} cpuSamples
 */

const ROUNDS = 21;
/** CPU time, so that a busy machine does not shorten it. */
const WARM_UP_MS = 300;
const OPERATIONS_MAX = 2 ** 30;

/** What runs returned last. */
export let kept = /** @type {unknown} */ (null);

/**
 * One turn. Returns the wall and CPU time of one operation, in ns.
 * @param {Contestant} contestant
 * @param {number} count
 */
async function turn(contestant, count) {
  contestant.before?.();
  const cpuBefore = process.cpuUsage();
  const start = process.hrtime.bigint();
  kept = contestant.run(count);
  if (kept instanceof Promise) kept = await kept;
  const wallNs = Number(process.hrtime.bigint() - start);
  const cpu = process.cpuUsage(cpuBefore);
  const told = contestant.took?.();
  contestant.after?.();
  if (told !== undefined) return told;
  return { wallNs: wallNs / count, cpuNs: ((cpu.user + cpu.system) * 1000) / count };
}

/**
 * Warms a contestant up and finds how many operations fill a turn.
 * @param {Contestant} contestant
 * @param {number} turnMs
 */
async function operationsPerTurn(contestant, turnMs) {
  let count = 1;
  let warmedMs = 0;
  for (;;) {
    const { wallNs, cpuNs } = await turn(contestant, count);
    warmedMs += (cpuNs * count) / 1e6;
    const turnNs = wallNs * count;
    const isLong = turnNs >= turnMs * 1e5;
    if (isLong && warmedMs >= WARM_UP_MS) {
      return Math.max(1, Math.round((turnMs * 1e6) / wallNs));
    }
    if (!isLong) count = Math.min(count * 2, OPERATIONS_MAX);
  }
}

/** Lets the event loop turn: memory that nothing refers to any more is given back there. */
export function nextTurn() {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * @param {readonly Contestant[]} contestants
 * @param {readonly number[]} counts
 * @param {(round: number) => boolean} goesOn
 * @returns {Promise<Figure[]>}
 */
async function takeRounds(contestants, counts, goesOn) {
  const walls = contestants.map(() => /** @type {number[]} */ ([]));
  const cpus = contestants.map(() => /** @type {number[]} */ ([]));
  for (let round = 0; goesOn(round); round++) {
    for (let position = 0; position < contestants.length; position++) {
      // Nobody is always the one who goes after a certain other.
      const who = (position + round) % contestants.length;
      await nextTurn();
      const { wallNs, cpuNs } = await turn(at(contestants, who), at(counts, who));
      at(walls, who).push(wallNs);
      at(cpus, who).push(cpuNs);
    }
  }
  return contestants.map(({ name }, who) => figureOf(name, at(walls, who), at(cpus, who)));
}

/**
 * @param {string} name
 * @param {readonly number[]} walls
 * @param {readonly number[]} cpus
 * @returns {Figure}
 */
function figureOf(name, walls, cpus) {
  const wallNs = median(walls);
  return {
    name,
    wallNs,
    cpuNs: median(cpus),
    spread: (quantile(walls, 0.75) - quantile(walls, 0.25)) / 2 / wallNs,
    rounds: walls.length,
    wallSamples: walls,
    cpuSamples: cpus,
  };
}

/**
 * Measures operations that can be repeated at once: each turn does as many as fill its time, `seconds`
 * divided among the rounds.
 * @param {readonly Contestant[]} contestants
 * @param {number} seconds For each contestant.
 */
export async function takeTurns(contestants, seconds) {
  const turnMs = (seconds * 1000) / ROUNDS;
  const counts = [];
  for (const contestant of contestants) counts.push(await operationsPerTurn(contestant, turnMs));
  return takeRounds(contestants, counts, (round) => round < ROUNDS);
}

/**
 * Measures operations that need preparation each time: turns of fixed length, in as many rounds as the
 * time allows, preparation included.
 * @param {readonly Contestant[]} contestants
 * @param {number} seconds For each contestant.
 * @param {number} roundsMin
 */
export async function takeTurnsOnce(contestants, seconds, roundsMin = 5) {
  const counts = contestants.map(({ count }) => count ?? 1);
  await takeRounds(contestants, counts, (round) => round < 1);
  const end = performance.now() + seconds * 1000 * contestants.length;
  return takeRounds(
    contestants,
    counts,
    (round) => round < roundsMin || (round < ROUNDS && performance.now() < end),
  );
}

/**
 * How many times the peer's time the subject takes: the median over the rounds.
 * @param {Figure} subject
 * @param {Figure} peer
 */
export function wallRatio(subject, peer) {
  return median(subject.wallSamples.map((sample, round) => sample / at(peer.wallSamples, round)));
}

/**
 * How many times the peer's CPU time the subject takes: of the medians, since a turn may be shorter than
 * what CPU time is told in. Null where the peer took none.
 * @param {Figure} subject
 * @param {Figure} peer
 */
export function cpuRatio(subject, peer) {
  return peer.cpuNs === 0 ? null : subject.cpuNs / peer.cpuNs;
}

/** @param {readonly number[]} values */
function median(values) {
  return quantile(values, 0.5);
}

/**
 * @param {readonly number[]} values
 * @param {number} part
 */
export function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const below = Math.floor(place);
  const above = Math.min(sorted.length - 1, below + 1);
  return at(sorted, below) + (at(sorted, above) - at(sorted, below)) * (place - below);
}

/**
 * The value at an index that exists.
 * @template T
 * @param {readonly T[]} values
 * @param {number} index
 * @returns {T}
 */
export function at(values, index) {
  const value = values[index];
  if (value === undefined) throw new RangeError(`index ${index} of ${values.length}`);
  return value;
}

/**
 * Measures operations that are timed one by one, since something must happen before each of them:
 * contestants in turns, for so many seconds each.
 * @param {readonly { name: string, once: () => Promise<number> }[]} contestants `once` returns its time in ns.
 * @param {number} seconds
 * @returns {Promise<Figure[]>}
 */
export async function timeEach(contestants, seconds) {
  const wall = contestants.map(() => /** @type {number[]} */ ([]));
  const cpu = contestants.map(() => /** @type {number[]} */ ([]));
  const until = performance.now() + seconds * 1000 * contestants.length;
  while (performance.now() < until) {
    for (const [index, { once }] of contestants.entries()) {
      const before = process.cpuUsage();
      at(wall, index).push(await once());
      const { user, system } = process.cpuUsage(before);
      at(cpu, index).push((user + system) * 1000);
    }
  }
  return contestants.map(({ name }, index) => {
    const figure = figureOf(name, at(wall, index), at(cpu, index));
    // One operation is shorter than what CPU time is told in: so it is the mean.
    const all = at(cpu, index).reduce((sum, each) => sum + each, 0);
    return { ...figure, cpuNs: all / figure.rounds };
  });
}
