/** Marks of entries by several threads at once. */
import { clearMark, Mark, nextMarked, setMark } from "../../../mapping/tree.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { BareFile, type BareShared, buildBare } from "../../world/bare.ts";

/** The pages that are marked, for whoever asks alone. */
function markedPages(file: BareFile, mark: Mark): string {
  const { words } = file.hands[0]!.thread;
  const pages: number[] = [];
  for (let from = 0; ; from = pages[pages.length - 1]! + 1) {
    const page = nextMarked(words, file.mapping, from, file.pageCount - 1, mark);
    if (page < 0) return pages.join(" ");
    pages.push(page);
  }
}

export const marksTogether = scenario({
  name: "marks-together",
  about:
    "Pages of one node are marked and unmarked by two threads at once. No mark is lost, none comes back, " +
    "and a page that is marked as pinned can be pinned without a lock.",
  from: "mapping/tree.ts, rules 1 and 3; pin/pin.ts, invariant 3",
  build: () => buildBare(2, 3, false),
  region: (shared: BareShared) => shared.region,
  begin(shared: BareShared, actors: readonly Self[]) {
    const file = new BareFile(shared, actors);
    setMark(actors[0]!.thread, file.mapping, 2, Mark.dirty);
    return file;
  },
  actors: {
    a(file, self) {
      setMark(self.thread, file.mapping, 0, Mark.pinned);
      const pin = file.tryPin(self, 0, 1);
      ensure(pin !== 0, "a marked page cannot be pinned without a lock");
      file.release(self, pin);
      clearMark(self.thread, file.mapping, 2, Mark.dirty);
    },
    b(file, self) {
      setMark(self.thread, file.mapping, 1, Mark.dirty);
      setMark(self.thread, file.mapping, 1, Mark.pinned);
    },
  },
  end(file) {
    file.end();
    ensure(markedPages(file, Mark.pinned) === "0 1", "a page's mark as pinned is lost");
    ensure(markedPages(file, Mark.dirty) === "1", "a dirty mark is lost, or has come back");
  },
  nameOf: (file, word) => file.nameOf(word),
});
