export {
  createMappingArea,
  initMapping,
  MappingWord,
  mappingSlab,
  nodeSlab,
} from "../../../src/mapping/mapping.ts";
export {
  clearMark,
  dropZeroEntries,
  findSlot,
  isMarked,
  makeSlot,
  nextMarked,
  removeEntries,
  setMark,
  storeHuge,
} from "../../../src/mapping/tree.ts";
export { Pages } from "../../../src/pages/pages.ts";
export { pagesOfPin, releasePin, stillOwned, tryPin } from "../../../src/pin/pin.ts";
export { heldPins } from "../../../src/pin/record.ts";
export { load, store } from "../../../src/sync/atomics.ts";
export {
  tryExclusive,
  tryShared,
  unlockExclusive,
  unlockShared,
} from "../../../src/sync/lock.ts";
export { Region } from "../../../src/sync/region.ts";
export {
  allocateObject,
  allocateZeroed,
  freeObject,
  initSlab,
  objectsInUse,
} from "../../../src/sync/slab.ts";
export { Thread } from "../../../src/sync/thread.ts";
