/** Reports of lost pages, handled without a volume's inode table. */
import { handlePoison, type HeldMapping } from "../../dax/poison.ts";
import type { Self } from "../scenario.ts";
import type { Volume } from "./volume.ts";

/** As the inode table keeps a file's record. */
export function holdFile(volume: Volume, ino: number): HeldMapping | null {
  const file = volume.shared.files.find((each) => each.ino === ino);
  return file === undefined ? null : { mapping: file.mapping, [Symbol.dispose]: () => {} };
}

/** Handles the reports of dead threads, as the volume does after each operation. Runs alone. */
export function finishReports(volume: Volume, self: Self): void {
  const dax = volume.dax(self);
  const { bad } = dax.pages;
  for (let report = bad.takeAbandoned(); report !== null; report = bad.takeAbandoned()) {
    handlePoison(
      self.task,
      dax,
      report,
      (ino) => holdFile(volume, ino),
      () => {},
    );
  }
}
