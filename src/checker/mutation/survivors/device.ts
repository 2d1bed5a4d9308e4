import type { Explanation } from "./explanation.ts";

export const deviceSurvivors: readonly Explanation[] = [
  {
    file: "device/state.ts",
    function: "goneError",
    what: ["choice (length > 0)"],
    why: "The wording of a message.",
  },
  {
    file: "device/state.ts",
    function: "notePages",
    what: ["left out: store("],
    why: "No scenario makes a device larger; the tests of growing do.",
  },
  {
    file: "device/state.ts",
    function: "claim",
    what: ["without !thread.isAlive(state): "],
    why: "It looks for the dead, and finds none: the holder lives.",
  },
  {
    file: "device/state.ts",
    function: "claim",
    what: ["never: if (load(words, this.word) !== state)"],
    why: "The wording of a message: the name of who held the device a moment ago, or the one he claims by now.",
  },
  {
    file: "device/state.ts",
    function: "#release",
    what: ["always: if (released)"],
    why: "A wake-up too many: whoever is woken looks at the word again.",
  },
  {
    file: "device/state.ts",
    function: "remove",
    what: ["StateArea.reasonLength, length + 1);"],
    why: "The wording of a message; between the two it is short.",
  },
  {
    file: "dax/device-removal.ts",
    function: "takeAway",
    what: ["never: if (held === null)"],
    why: "In the scenarios every file can be held.",
  },
  {
    file: "dax/device-removal.ts",
    function: "takeAway",
    what: ["always: if (!windows.port.faults)"],
    why: "A figure: windows tell pages as lost that nobody has touched yet.",
  },
  {
    file: "dax/device-removal.ts",
    function: "takeAway",
    what: ["swapped: "],
    why: "Who waits for a pin, who has a lease and who copies do not know of each other.",
  },
  {
    file: "dax/device-removal.ts",
    function: "untilRemoved",
    what: ["always: if (handler === 0)"],
    why: "It looks again at once, instead of sleeping.",
  },
  {
    file: "layout/lease.ts",
    function: "expireLeases",
    what: ["always: if (state === LeaseState.granted)"],
    why: "A lease that was recalled before is told the removal as its reason: both are true.",
  },
  {
    file: "layout/lease.ts",
    function: "expireLeases",
    what: ["LeaseRecord.deadline, clockMs());", "LeaseArea.expired, 1);"],
    why: "Figures: since when it has expired, and how many have.",
  },
  {
    file: "layout/lease.ts",
    function: "expireLeases",
    what: ["swapped: wakeAll("],
    why: "Two wake-ups, of threads that do not know of each other.",
  },
  {
    file: "pages/pages.ts",
    function: "wakeAllWaiters",
    what: ["always: if ("],
    why: "Wake-ups too many: nobody sleeps there, or he looks again.",
  },
];
