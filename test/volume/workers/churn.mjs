// A thread that works on a volume without end, until it is terminated: names, contents, windows, pins.
import { workerData } from "node:worker_threads";
import { attach } from "holdfast";

const volume = attach(workerData.handle);
const own = `/churn/${workerData.name}`;
const progress = new Int32Array(workerData.progress);
volume.mkdirSync(own, { recursive: true });
let seed = workerData.seed;
const random = (/** @type {number} */ limit) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return (seed >>> 8) % limit;
};

/** @param {() => void} run */
function unlessExpected(run) {
  try {
    run();
  } catch (error) {
    const expected = ["ENOENT", "EEXIST", "ENOTEMPTY", "ENOSPC", "ETIMEDOUT", "EINVAL"];
    if (!expected.includes(/** @type {{ code: string }} */ (error).code)) throw error;
  }
}

/** Left open for a while, so that some are when the thread ends. @type {import("holdfast").FileWindow[]} */
const windows = [];

/** @param {import("holdfast").FileHandle} file @param {number} turn */
function useFile(file, turn) {
  file.writeSync(new Uint8Array(1 + random(60_000)).fill(turn), random(200_000));
  if (random(3) === 0) {
    const window = file.map();
    for (let at = 0; at < window.bytes.length; at += 4096) window.bytes[at] = turn;
    windows.push(window);
    if (windows.length > 3) windows.shift()?.close();
  }
  if (random(3) === 0) {
    // Another thread may truncate the file meanwhile: EINVAL.
    const length = Math.max(1, Math.min(file.statSync().size, 1 + random(50_000)));
    const pin = file.pinSync(0, length, { write: true });
    try {
      pin.buffers[0]?.fill(turn);
      if (random(4) === 0) file.truncateSync(0, { timeoutMs: 1 });
    } finally {
      pin.release();
    }
  }
  file.truncateSync(random(100_000), { timeoutMs: 1000 });
}

for (let turn = 0; ; turn++) {
  const path = random(4) === 0 ? `/churn/shared${random(3)}` : `${own}/f${random(6)}`;
  unlessExpected(() => {
    const file = volume.openSync(path, random(3) === 0 ? "w+" : "a+");
    try {
      useFile(file, turn);
    } finally {
      file.closeSync();
    }
  });
  unlessExpected(() => volume.unlinkSync(`${own}/f${random(6)}`));
  unlessExpected(() => volume.renameSync(`${own}/f${random(6)}`, `${own}/f${random(6)}`));
  unlessExpected(() => volume.renameSync(`${own}/f${random(6)}`, `/churn/shared${random(3)}`));
  unlessExpected(() => volume.mkdirSync(`${own}/d${random(3)}/e`, { recursive: true }));
  unlessExpected(() => volume.rmdirSync(`${own}/d${random(3)}/e`));
  Atomics.add(progress, 0, 1);
}
