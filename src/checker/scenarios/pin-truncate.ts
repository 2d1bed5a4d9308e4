import { PAGE_INDEX_MAX } from "../../mapping/mapping.ts";
import { scenario } from "../scenario.ts";
import { BareFile, buildBare, type BareShared } from "../world/bare.ts";

/** Two I/Os into the only page of a file, and a truncate to nothing. */
export const pinTruncate = scenario({
  name: "pin-truncate",
  about:
    "Two I/Os pin the page of a file without a lock, write and release it, while a truncate frees its " +
    "block. The block must not be free while an I/O is under way.",
  from: "[PATCH v7 00/12] dax: fix dma vs truncate/hole-punch",
  build: () => buildBare(3, 1),
  region: (shared: BareShared) => shared.region,
  begin: (shared, actors) => new BareFile(shared, actors),
  actors: {
    io(file, self) {
      const pin = file.tryPin(self, 0, 1);
      if (pin === 0) return;
      file.io(self, pin, 1);
      file.endIo(self, pin);
    },
    "io-2"(file, self) {
      const pin = file.tryPin(self, 0, 1);
      if (pin === 0) return;
      file.io(self, pin, 1);
      file.endIo(self, pin);
    },
    *truncate(file, self) {
      yield* file.remove(self, 0, PAGE_INDEX_MAX);
    },
  },
  end: (file) => file.end(),
  nameOf: (file, word) => file.nameOf(word),
  watch: {
    pins: (file) => file.pinsShown(),
    freed: (file) => file.freedShown(),
  },
});
