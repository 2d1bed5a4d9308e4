// The core without a driver, for the linker: what both-builds.test.ts drives in both builds.
export {
  createMappingArea,
  initMapping,
  MappingWord,
  mappingSlab,
  nodeSlab,
} from "../../../dist/checked/mapping/mapping.js";
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
} from "../../../dist/checked/mapping/tree.js";
export { Pages } from "../../../dist/checked/pages/pages.js";
export { pagesOfPin, releasePin, stillOwned, tryPin } from "../../../dist/checked/pin/pin.js";
export { heldPins } from "../../../dist/checked/pin/record.js";
export { load, store } from "../../../dist/checked/sync/atomics.js";
export {
  tryExclusive,
  tryShared,
  unlockExclusive,
  unlockShared,
} from "../../../dist/checked/sync/lock.js";
export { Region } from "../../../dist/checked/sync/region.js";
export {
  allocateObject,
  allocateZeroed,
  freeObject,
  initSlab,
  objectsInUse,
} from "../../../dist/checked/sync/slab.js";
export { Thread } from "../../../dist/checked/sync/thread.js";
