/** Making ext volumes. */
export {
  type FormatProgress,
  formatVolume,
  type LaidOut,
  layOutVolume,
  previewSuperblock,
} from "./format-volume.ts";
export type { FormatTarget } from "./images.ts";
export { withCountsOf, withoutJournal } from "./filling-superblock.ts";
export { spaceOf } from "./space.ts";
export { planVolume, type Recipe, type VolumeRequest } from "./recipe.ts";
