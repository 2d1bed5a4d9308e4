import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { storyAsPage } from "../../src/checker/report/page.ts";
import { PHRASES } from "../../src/checker/report/phrases.ts";
import type { Step, StepKind, Story } from "../../src/checker/report/story.ts";
import { storyAsText } from "../../src/checker/report/text.ts";

const WAITED = 0x40000000;
const PINS = "pins of page 0";

/** A step: "io update tryPin>countInEpoch", its word, the values, what was said before it. */
type Line = readonly [what: string, word: string, before?: number, after?: number, said?: string];

const FILES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(PHRASES).flatMap(([file, phrases]) =>
    Object.keys(phrases).map((name) => [name, file]),
  ),
);

/** A story from lines, watching the pins of page 0. */
function storyOf(actors: readonly string[], lines: readonly Line[], rest?: Partial<Story>): Story {
  let pins = 1;
  const steps = lines.map(([what, word, before = 0, after = before, said]): Step => {
    const [actor, kind, stack] = what.split(" ");
    if (word === PINS && kind === "update") pins = after;
    return {
      actor: actors.indexOf(actor!),
      kind: kind as StepKind,
      word,
      before,
      after,
      stack: (stack ?? "")
        .split(">")
        .flatMap((name) =>
          name === "" ? [] : [{ function: name, file: FILES[name] ?? "scenario.ts" }],
        ),
      said: said === undefined ? [] : [said],
      target: kind === "kill" || kind === "abort" ? actors.indexOf(word) : -1,
      state: [String(pins & ~WAITED)],
    };
  });
  return {
    scenario: "pin-truncate",
    about: "Two threads do I/O into page 0 while a third one truncates the file.",
    variant: null,
    variantAbout: null,
    actors,
    watched: [PINS],
    steps,
    failure: null,
    schedule: "other io*2 truncate*9",
    ...rest,
  };
}

const TRUNCATE = "truncateFile>changeLayout>withBrokenLayouts";
const IO_LOCK = "io lock of inode 2";
const MAP_LOCK = "map lock of inode 2";

function takeLock(lock: string): Line[] {
  const stack = `${TRUNCATE}>lockExclusive>tryLockExclusive>tryExclusive`;
  return [
    [`truncate update ${stack}>enter>enterGuard`, `${lock}: guard`, 0, 1026],
    [`truncate read ${stack}>admitsExclusive`, `${lock}: exclusive`, 0],
    [`truncate write ${stack}`, `${lock}: exclusive`, 0, 1026],
    [`truncate write ${stack}`, "record of truncate", 0, 130],
    [`truncate update ${stack}>leave>leaveGuard`, `${lock}: guard`, 1026, 0],
  ];
}

function dropLock(lock: string): Line[] {
  const stack = `${TRUNCATE}>HeldLock.[Symbol.dispose]>HeldLock.release>unlockExclusive`;
  return [
    [`truncate update ${stack}>enter>enterGuard`, `${lock}: guard`, 0, 1026],
    [`truncate write ${stack}`, "record of truncate", 130, 0],
    [`truncate write ${stack}`, `${lock}: exclusive`, 1026, 0],
    [`truncate update ${stack}>leave>leaveGuard`, `${lock}: guard`, 1026, 0],
  ];
}

const announceBreak: Line[] = [
  [`truncate write ${TRUNCATE}>announce`, "break of inode 2: last page", 0, 7],
  [`truncate write ${TRUNCATE}>announce`, "break of inode 2: holder", 0, 1026],
];

const withdraw: Line[] = [
  [`truncate write ${TRUNCATE}>withdraw`, "break of inode 2: holder", 1026, 0],
];

function findBusy(pins: number): Line[] {
  return [
    [`truncate read ${TRUNCATE}>findBusy>nextMarked`, "pinned marks of node 0", 1],
    [`truncate read ${TRUNCATE}>findBusy>Pages.pinCount`, PINS, pins],
  ];
}

/** A break that does not wait an epoch: a pin under way is counted after it was looked for. */
const overlooked = storyOf(
  ["io", "other", "truncate"],
  [
    ["io write tryPin>enterEpoch", "epoch of io", 0, 1, "starts its I/O into page 0"],
    ["io read tryPin>countInEpoch", "break of inode 2: holder", 0],
    ...takeLock(IO_LOCK),
    ...takeLock(MAP_LOCK),
    ...announceBreak,
    ...findBusy(1),
    ...withdraw,
    ...dropLock(MAP_LOCK),
    ...dropLock(IO_LOCK),
    [`truncate update ${TRUNCATE}>waitForPage>Pages.prepareWait`, PINS, 1, WAITED | 1],
    [`truncate sleep ${TRUNCATE}>waitForPage`, PINS, WAITED | 1],
    ["other update releasePin>Pages.releaseNoting", PINS, WAITED | 1, WAITED, "ends its I/O"],
    ["other update releasePin>Pages.releaseNoting>Pages.wakeWaiters", PINS, WAITED, 0],
    ["other wake releasePin>Pages.releaseNoting>Pages.wakeWaiters", PINS, 0],
    [`truncate resume ${TRUNCATE}>waitForPage`, PINS, 0],
    ...takeLock(IO_LOCK),
    ...takeLock(MAP_LOCK),
    ...announceBreak,
    ...findBusy(0),
    ["io update tryPin>countInEpoch", PINS, 0, 1],
    ["io write tryPin>leaveEpoch", "epoch of io", 1, 2],
    [`truncate read ${TRUNCATE}>removePages>removeEntries>Pages.disassociate`, PINS, 1],
  ],
  {
    variant: "no-epoch",
    variantAbout: "A break does not wait for the epochs that are under way.",
    failure: {
      kind: "invariant",
      message: "page 0 loses its owner while it is pinned",
      actor: 2,
    },
  },
);

/** The lines of a story's text between head and end. */
function body(story: Story, options?: Parameters<typeof storyAsText>[1]): string {
  return storyAsText(story, options).split("\n\n")[1]!;
}

test("a schedule is told in a column per actor, a line per happening", () => {
  expect(storyAsText(overlooked)).toMatchInlineSnapshot(`
    "pin-truncate
      Two threads do I/O into page 0 while a third one truncates the file.
    variant no-epoch
      A break does not wait for the epochs that are under way.

        io                        other                     truncate
        starts its I/O into
        page 0
     1  pins without a lock                                                            pins of page 0: 1
        (break: holder: 0) …
     3                                                      takes the io lock
     8                                                      takes the map lock
    13                                                      announces the break
                                                            (break: last page:
                                                            0 -> 7, break: holder:
                                                            0 -> 1026)
    15                                                      looks for a busy page
                                                            (pins of page 0: 1)
    17                                                      withdraws the break
                                                            (break: holder:
                                                            1026 -> 0)
    18                                                      drops the map lock
    22                                                      drops the io lock
    26                                                      sets WAITED (pins of
                                                            page 0: 1 -> 1|WAITED)
    27                                                      sleeps on the pins of
                                                            page 0
                                  ends its I/O
    28                            gives its pin back (pins                             pins of page 0: 0
                                  of page 0:
                                  1|WAITED -> 0), wakes
                                  truncate
    31                                                      wakes up
    32                                                      takes the io lock
    37                                                      takes the map lock
    42                                                      announces the break
                                                            (break: last page:
                                                            0 -> 7, break: holder:
                                                            0 -> 1026)
    44                                                      looks for a busy page
                                                            (pins of page 0: 0)
    46  … pins without a lock                                                          pins of page 0: 1
        (pins of page 0: 0 -> 1)
    48                                                      removes the pages (pins
                                                            of page 0: 1)

    invariant: page 0 loses its owner while it is pinned (in truncate)
    replay: holdfast check pin-truncate --variant no-epoch --replay "other io*2 truncate*9"
    "
  `);
});

test("no line is wider than asked, and what does not fit in columns is told in one", () => {
  const widest = (width: number): number =>
    Math.max(
      ...body(overlooked, { width })
        .split("\n")
        .map((line) => line.length),
    );
  for (const width of [120, 100, 90, 60, 40]) expect(widest(width)).toBeLessThanOrEqual(width);
  expect(body(overlooked, { width: 50 })).toMatchInlineSnapshot(`
    "    io        starts its I/O into page 0
     1  io        pins without a lock (break: holder:
                  0) …
                  [pins of page 0: 1]
     3  truncate  takes the io lock
     8  truncate  takes the map lock
    13  truncate  announces the break (break: last
                  page: 0 -> 7, break: holder:
                  0 -> 1026)
    15  truncate  looks for a busy page (pins of
                  page 0: 1)
    17  truncate  withdraws the break (break: holder:
                  1026 -> 0)
    18  truncate  drops the map lock
    22  truncate  drops the io lock
    26  truncate  sets WAITED (pins of page 0:
                  1 -> 1|WAITED)
    27  truncate  sleeps on the pins of page 0
        other     ends its I/O
    28  other     gives its pin back (pins of page 0:
                  1|WAITED -> 0), wakes truncate
                  [pins of page 0: 0]
    31  truncate  wakes up
    32  truncate  takes the io lock
    37  truncate  takes the map lock
    42  truncate  announces the break (break: last
                  page: 0 -> 7, break: holder:
                  0 -> 1026)
    44  truncate  looks for a busy page (pins of
                  page 0: 0)
    46  io        … pins without a lock (pins of
                  page 0: 0 -> 1)
                  [pins of page 0: 1]
    48  truncate  removes the pages (pins of page 0:
                  1)"
  `);
});

test("raw text has each access on its own line", () => {
  expect(body(overlooked, { raw: true }).split("\n").slice(0, 4).join("\n")).toMatchInlineSnapshot(`
    "    io        starts its I/O into page 0
     1  io        enterEpoch           epoch of io: 0 -> 1  [pins of page 0: 1]
     2  io        countInEpoch         break of inode 2: holder: 0
     3  truncate  enterGuard           io lock of inode 2: guard: 0 -> 1026"
  `);
});

test("what is repeated without end is told once", () => {
  const round = [...takeLock(IO_LOCK), ...findBusy(1), ...dropLock(IO_LOCK)];
  const endless = storyOf(
    ["truncate"],
    [...takeLock(MAP_LOCK), ...Array.from({ length: 9 }, () => round).flat(), ...takeLock(IO_LOCK)],
    { failure: { kind: "livelock", message: "no progress is made", actor: 0 } },
  );
  expect(body(endless)).toMatchInlineSnapshot(`
    "     truncate
      1  takes the map lock                         pins of page 0: 1
      6  takes the io lock
     11  looks for a busy page (pins of page 0: 1)
     13  drops the io lock
     17  ... and so on, the same 8 times again"
  `);
});

test("styles do not move columns", () => {
  const marked = storyAsText(overlooked, { style: (name, text) => `<${name}>${text}</${name}>` });
  expect(marked).toContain(
    "<red>invariant: page 0 loses its owner while it is pinned (in truncate)",
  );
  expect(marked.replace(/<\/?(bold|dim|red|green|yellow)>/g, "")).toBe(storyAsText(overlooked));
});

test("functions without a phrase are told by name", () => {
  const story = storyOf(
    ["io"],
    [
      ["io read someScenario>frobnicate", "word 7", 1],
      ["io update truncateFile>helper>deeper>enterGuard", "word 8", 1, 2],
      ["io read constructor", "word 9"],
      ["io write <anonymous>", "word 10", 0, 3],
      ["io write", "word 11", 0, 3],
      ["io read someScenario>enterGuard", "word 12", 0],
    ],
  );
  expect(body(story)).toMatchInlineSnapshot(`
    "   io
    1  frobnicate() (word 7: 1)   pins of page 0: 1
    2  helper()
    3  constructor() (word 9: 0)
    4  runs (word 10: 0 -> 3)
    5  word 11: 0 -> 3
    6  takes word 12 (0)"
  `);
});

test("a lock is taken, found taken, queued for, or its queue left", () => {
  const lock = (stack: string, word: string, before = 0, after = before): Line => [
    `io update lockExclusive>${stack}`,
    `${IO_LOCK}: ${word}`,
    before,
    after,
  ];
  const story = storyOf(
    ["io", "environment"],
    [
      lock("tryLockExclusive>tryExclusive>enter>enterGuard", "guard", 0, 1025),
      lock("tryLockExclusive>tryExclusive>leave>leaveGuard", "guard", 1025, 0),
      lock("waitExclusive", "waitingExclusive", 0, 1),
      ["io sleep lockExclusive>waitExclusive", `${IO_LOCK}: wake`],
      ["io resume lockExclusive>waitExclusive", `${IO_LOCK}: wake`],
      lock("waitExclusive>admitsExclusive", "exclusive", 5),
      ["io sleep lockExclusive>waitExclusive", `${IO_LOCK}: wake`],
      ["environment abort", "io"],
      ["io resume lockExclusive>waitExclusive", `${IO_LOCK}: wake`],
      lock("waitExclusive", "waitingExclusive", 1, 0),
      lock("tryExclusive", "exclusive", 0, 1025),
      ["environment kill", "io"],
    ],
  );
  expect(body(story)).toMatchInlineSnapshot(`
    "    io                               environment
     1  finds the io lock taken                       pins of page 0: 1
     3  queues for the io lock
     4  sleeps on the io lock
     5  wakes up
     6  looks at the io lock again
     7  sleeps on the io lock
     8                                   aborts io
     9  wakes up
    10  leaves the queue of the io lock
    11  takes the io lock
    12                                   kills io"
  `);
});

test("a mutex whose taker has to sleep is not taken yet", () => {
  const stack = "beginLayoutTransaction>beginTransaction>lockMutex";
  const story = storyOf(
    ["io"],
    [
      [`io update ${stack}`, "transaction mutex", 1026],
      [`io update ${stack}`, "transaction mutex", 1026, -1026],
      [`io sleep ${stack}`, "transaction mutex", -1026],
      [`io resume ${stack}`, "transaction mutex", 0],
      [`io update ${stack}`, "transaction mutex", 0, -1025],
      ["io write beginLayoutTransaction>beginTransaction", "transaction: state", 0, 1],
    ],
  );
  expect(body(story)).toMatchInlineSnapshot(`
    "   io
    1  finds the transaction mutex taken                 pins of page 0: 1
    3  sleeps on the transaction mutex
    4  wakes up
    5  takes the transaction mutex
    6  opens a transaction (transaction: state: 0 -> 1)"
  `);
});

test("who still sleeps is told at the end, and a wake-up that reached nobody", () => {
  const lost = storyOf(
    ["io", "truncate"],
    [
      ["io wake releasePin>Pages.releaseNoting", PINS, 0],
      ["truncate sleep waitForPage", PINS, 0],
    ],
    { failure: { kind: "lost wake-up", message: "truncate sleeps on 0 pins", actor: 1 } },
  );
  expect(storyAsText(lost)).toContain("gives its pin back, wakes nobody");
  expect(storyAsText(lost)).toContain("\nasleep: truncate on the pins of page 0\n");
});

test("inodes are named where there are several", () => {
  const lines: Line[] = [
    ["io write tryExclusive", "io lock of inode 2: exclusive", 0, 1025],
    ["io write tryExclusive", "io lock of inode 12: exclusive", 0, 1025],
  ];
  expect(body(storyOf(["io"], lines))).toMatch(
    /takes the io lock of inode 2 .*\n.*takes the io lock of inode 12/,
  );
});

test("a story without steps is told", () => {
  const empty = storyOf([], [], { watched: [] });
  expect(storyAsText(empty)).toContain("no failure in this schedule");
  expect(storyAsPage(empty)).toContain("</html>");
});

test("every function that has a phrase is in the source", () => {
  for (const [file, phrases] of Object.entries(PHRASES)) {
    const text = readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8");
    for (const key of Object.keys(phrases)) {
      const [name, owner = ""] = key.split(".").reverse();
      const written = name === "dispose" ? "\\[Symbol\\.dispose\\]" : name;
      expect(text, `${key} in ${file}`).toMatch(new RegExp(`${written}(<[^(]*>)?(\\(|: \\()`));
      expect(text, `${owner} in ${file}`).toContain(owner);
    }
  }
});

test("no text of a story gets out of its place in the page", () => {
  const evil = `</script><b>"'&<!--<script>`;
  const page = storyAsPage(
    storyOf([evil], [[`${evil.replaceAll(" ", "")} read ${evil}`, evil, 0, 0, evil]], {
      scenario: evil,
      about: evil,
      variant: evil,
      variantAbout: evil,
      watched: [evil],
      failure: { kind: "check", message: evil, actor: 0 },
      schedule: evil,
    }),
  );
  expect(page).not.toContain('<b>"');
  expect(page.match(/<script/g)).toHaveLength(2);
  expect(page.match(/<\/script>/g)).toHaveLength(2);
  expect(page).not.toContain("<!--");
  const data = JSON.parse(/id="story">(.*?)<\/script>/s.exec(page)![1]!);
  expect(data.steps[0]).toMatchObject({ actor: evil, word: evil, said: [evil] });
  expect(data.watched).toEqual([evil]);
});

test("the page loads nothing, inserts text only, and is a table without its script", () => {
  const page = storyAsPage(overlooked);
  expect(page).not.toMatch(/(src|href)="(?!data:)|@import|url\(|innerHTML|https?:/);
  expect(page.match(/<tr class="step/g)).toHaveLength(overlooked.steps.length);
  expect(page).toContain('<th scope="col">truncate</th>');
  expect(page).toContain("<td>countInEpoch · pins of page 0: 0 -&gt; 1</td>");
});

test("the page's script is a script", () => {
  const script = /<script>(.*)<\/script>/s.exec(storyAsPage(overlooked))![1]!;
  expect(() => new Function(script)).not.toThrow();
});
