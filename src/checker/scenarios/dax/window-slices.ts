/** What a window shows is noted by 2 MiB: what is revoked of it, and what write-back persists. */
import { writeBack } from "../../../dax/write-back.ts";
import { ensure } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { loads, punch, volumeStory } from "./play.ts";

/** Pages 0, 512, 600 and 601 have blocks. */
const PAGES = `=${".".repeat(511)}=${".".repeat(87)}==${".".repeat(98)}`;

/** The 2 MiB that windows may have been stored to, "first-last". */
function runs(volume: Volume): string {
  const { windows } = volume.dax(volume.actors[0]!);
  const found: string[] = [];
  windows.forEachWritableRun(volume.file("A").mapping, (first, last) => {
    found.push(`${first}-${last}`);
  });
  return found.join(" ");
}

/** Demands what has been revoked so far, what may still be shown, and what is noted as written. */
function expect(volume: Volume, when: string, revoked: number, shown: string, written: string) {
  const { revocations } = volume.dax(volume.actors[0]!).windows.statistics();
  ensure(revocations === revoked, `${when}: ${revocations} revocations, not ${revoked}`);
  ensure(runs(volume) === shown, `${when}: "${runs(volume)}" may be shown, not "${shown}"`);
  const pages = volume.writtenOf(volume.file("A"));
  const noted = pages === null ? "none" : `${pages.first}-${pages.last}`;
  ensure(noted === written, `${when}: ${noted} is noted, not ${written}`);
}

export const windowSlices = volumeStory({
  name: "dax-window-slices",
  about:
    "A window over more than 2 MiB shows pages of both its parts. Of what is punched, only parts that " +
    "show something are revoked; a part that is revoked as a whole shows nothing more, and what was " +
    "revoked of a window that writes is noted for the next write-back.",
  from: "window/window.ts, the bits of what a window shows",
  blocks: 8,
  files: [{ name: "A", pages: PAGES }],
  windows: [{ file: "A", first: 0, pages: 700, writable: true }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* volume.store(self, 0, 0, "S");
      for (const page of [512, 600, 601]) yield* loads(volume, self, 0, page, ["A"]);
      ensure(dax.windows.statistics().faults >= 3, "faults are not counted");
      yield* writeBack(self.task, dax, mapping);
      expect(volume, "at first", 0, "0-511 512-699", "none");
      yield* punch(volume, self, 600, 1);
      expect(volume, "after a page", 1, "0-511 512-699", "600-600");
      ensure(volume.windowShown(0).slice(600, 602) === "-#", "page 600 alone is revoked");
      yield* writeBack(self.task, dax, mapping);
      yield* punch(volume, self, 512, 1);
      expect(volume, "after the first page of the second part", 2, "0-511 512-699", "512-512");
      yield* writeBack(self.task, dax, mapping);
      yield* punch(volume, self, 512, 188);
      expect(volume, "after the second part", 3, "0-511", "512-699");
      ensure(!volume.windowShown(0).slice(512).includes("#"), "a page of the second part is shown");
      yield* writeBack(self.task, dax, mapping);
      yield* punch(volume, self, 600, 1);
      expect(volume, "after a page that is not shown", 3, "0-511", "none");
      yield* punch(volume, self, 0, 700);
      expect(volume, "after all", 4, "", "0-511");
      yield* loads(volume, self, 0, 0, ["."]);
    },
  },
  explore: { strategy: "reduced" },
});
