// Uses up the mappings that the system allows a process, then revokes; prints what it is told.
import { readFileSync } from "node:fs";
import { bindFunction } from "../../../dist/base/libc.js";
import { memoryDevice } from "../../../dist/device/open.js";
import { FaultPort } from "../../../dist/window/fault-port.js";

const port = openPort();
const device = memoryDevice(2 ** 20);
const base = port.reserveWindow(2 ** 20);
const mmap = bindFunction(
  "intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t at)",
);
const munmap = bindFunction("int munmap(uintptr_t address, size_t length)");

function openPort() {
  const opened = FaultPort.open();
  if ("unavailable" in opened) throw new Error(opened.unavailable);
  return opened;
}

/** @param {() => void} use */
function messageOf(use) {
  try {
    use();
    return "went well";
  } catch (error) {
    return String(/** @type {Error} */ (error).message);
  }
}

/** Shows every other page, each a mapping of its own, until the system refuses. */
function showMany() {
  for (let page = 1; page < 100; page += 2) {
    port.show(addressOfPage(page), device, page * 4096, 4096, "shared");
  }
}

/** @param {number} page */
function addressOfPage(page) {
  return /** @type {import("../../../dist/base/quantities.js").Address} */ (base + page * 4096);
}

// Rehearsed, so that the engine compiles nothing once it gets crowded: it dies without memory of its own.
messageOf(() => port.wake(base, 4096));
messageOf(() => port.show(addressOfPage(0.5), device, 0, 4096, "shared"));

// A few stay free: the engine dies without any. Neighbours with different protections stay apart.
const mappingsMax = Number(readFileSync("/proc/sys/vm/max_map_count", "utf8"));
const present = readFileSync("/proc/self/maps", "utf8").split("\n").length;
const crowd = [];
for (let count = present; count < mappingsMax - 4; count++) {
  crowd.push(mmap(0, 4096, 1 + (count % 2), 0x22, -1, 0));
}
const revoked = messageOf(() => port.revoke(base, 4096));
const shown = messageOf(showMany);
const lost = messageOf(() => port.showLost(addressOfPage(200), 4096));
for (const address of crowd.slice(-256)) munmap(address, 4096); // room to print in
console.log(JSON.stringify({ revoked, shown, lost }));
process.exit();
