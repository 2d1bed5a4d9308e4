import type { Explanation } from "./explanation.ts";

export const pagesSurvivors: readonly Explanation[] = [
  {
    file: "pages/pages.ts",
    function: "create",
    what: ["swapped: "],
    why: "The area is made by one thread, and nobody can find it before the volume says that it is there.",
  },
  {
    file: "pages/pages.ts",
    function: "releaseNoting",
    what: ["always: if (before === (WAITED | 1))"],
    why: "A wake-up too many: whoever is woken tests the count again, and announces itself again.",
  },
  {
    file: "pages/pages.ts",
    function: "wakeWaiters",
    what: ["left out: and("],
    why: "The mark stays on an idle page; each later last release wakes, and nobody sleeps there.",
  },
];
