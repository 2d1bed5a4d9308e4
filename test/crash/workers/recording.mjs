// Notes what is stored through a device and when it is persisted, in the thread that loads it. Time is a counter that all
// recorded threads share: of a store, and of what a thread has been promised, it is taken when that is done; of a persist when
// it begins and when it has returned. So of two events one of which has waited for the other, as for a lock, the other has
// the lower number, however late a thread is to note its own.

/** A counter that threads share. */
export const newClock = () => new Int32Array(new SharedArrayBuffer(4));

/** The next number of the counter. */
export const tick = (clock) => Atomics.add(clock, 0, 1);

/** Returns the events, a list that grows, and what ends it. */
export function recordDevice(Device, path, clock) {
  const events = [];
  const { copyIn, zero, persist, persistAll, persistAllAsync } = Device.prototype;
  const noteStore = (at, bytes) => events.push({ kind: "store", at, bytes, time: tick(clock) });
  const notePersist = (since, at, end) =>
    events.push({ kind: "persist", at, end, since, time: tick(clock) });
  Device.prototype.copyIn = function (at, source) {
    copyIn.call(this, at, source);
    if (this.path === path) noteStore(at, source.slice());
  };
  Device.prototype.zero = function (at, length) {
    zero.call(this, at, length);
    if (this.path === path) noteStore(at, new Uint8Array(length));
  };
  Device.prototype.persist = function (at, length) {
    const since = tick(clock);
    persist.call(this, at, length);
    if (this.path === path) notePersist(since, at, at + length);
  };
  Device.prototype.persistAll = function () {
    const since = tick(clock);
    persistAll.call(this);
    if (this.path === path) notePersist(since, 0, Number.POSITIVE_INFINITY);
  };
  Device.prototype.persistAllAsync = async function () {
    const since = tick(clock);
    await persistAllAsync.call(this);
    if (this.path === path) notePersist(since, 0, Number.POSITIVE_INFINITY);
  };
  const end = () =>
    Object.assign(Device.prototype, { copyIn, zero, persist, persistAll, persistAllAsync });
  return { events, end };
}
