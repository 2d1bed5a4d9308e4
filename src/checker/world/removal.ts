/** Removal of the device, handled without a volume's inode table. */
import { handleRemoval, untilRemoved } from "../../dax/device-removal.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import type { Self } from "../scenario.ts";
import type { HoldMapping } from "../../dax/poison.ts";
import { holdFile } from "./poison.ts";
import type { Volume } from "./volume.ts";

/**
 * Notes that the device is gone, and returns when nobody can reach anything of it: whether this actor has
 * seen to that.
 */
export function* removeDevice(
  volume: Volume,
  self: Self,
  hold: HoldMapping = (ino) => holdFile(volume, ino),
): Sleeps<boolean> {
  const dax = volume.dax(self);
  dax.pages.deviceState.remove("");
  self.say("the device is gone");
  const isHandler = yield* untilRemoved(self.task, dax, hold);
  self.say("nobody can reach it");
  return isHandler;
}

/** Handles a removal that was only noted, as the volume does after each operation. Runs alone. */
export function finishRemoval(volume: Volume, self: Self): void {
  handleRemoval(self.task, volume.dax(self), (ino) => holdFile(volume, ino));
}
