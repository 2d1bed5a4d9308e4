/** Removal of the device, handled without a volume's inode table. */
import { handleRemoval, untilRemoved } from "../../dax/device-removal.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import type { Self } from "../scenario.ts";
import { holdFile } from "./poison.ts";
import type { Volume } from "./volume.ts";

/** Notes that the device is gone, and returns when nobody can reach anything of it. */
export function* removeDevice(volume: Volume, self: Self): Sleeps<void> {
  const dax = volume.dax(self);
  dax.pages.deviceState.remove("");
  self.say("the device is gone");
  yield* untilRemoved(self.task, dax, (ino) => holdFile(volume, ino));
  self.say("nobody can reach it");
}

/** Handles a removal that was only noted, as the volume does after each operation. Runs alone. */
export function finishRemoval(volume: Volume, self: Self): void {
  handleRemoval(self.task, volume.dax(self), (ino) => holdFile(volume, ino));
}
