/** The ext4 driver on its own. */
export { ExtDriver } from "./driver.ts";
export { SUPERBLOCK_BYTE, SUPERBLOCK_SIZE } from "./format.ts";
export { isSuperblock, parseSuperblock, type SuperblockFacts } from "./superblock.ts";
export { type DataDevice, ExtVolume } from "./volume.ts";
