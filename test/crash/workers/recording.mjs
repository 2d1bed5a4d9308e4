// Notes what is stored through a device and when it is persisted, in the thread that loads it. Times are nanoseconds of
// a clock that all threads share: of a store when it is done, of a persist when it begins. So what was stored before a
// persist is before it here as well, and what was stored meanwhile counts as not persisted.

const now = () => Number(process.hrtime.bigint());

/** Returns the events, a list that grows, and what ends it. */
export function recordDevice(Device, path) {
  const events = [];
  const { copyIn, zero, persist, persistAll } = Device.prototype;
  Device.prototype.copyIn = function (at, source) {
    copyIn.call(this, at, source);
    if (this.path === path) events.push({ kind: "store", at, bytes: source.slice(), time: now() });
  };
  Device.prototype.zero = function (at, length) {
    zero.call(this, at, length);
    const bytes = new Uint8Array(length);
    if (this.path === path) events.push({ kind: "store", at, bytes, time: now() });
  };
  Device.prototype.persist = function (at, length) {
    const event = { kind: "persist", at, end: at + length, time: now() };
    persist.call(this, at, length);
    if (this.path === path) events.push(event);
  };
  Device.prototype.persistAll = function () {
    const event = { kind: "persist", at: 0, end: Number.POSITIVE_INFINITY, time: now() };
    persistAll.call(this);
    if (this.path === path) events.push(event);
  };
  const end = () => Object.assign(Device.prototype, { copyIn, zero, persist, persistAll });
  return { events, end };
}
