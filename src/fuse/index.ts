/**
 * Volumes in the kernel's tree of files, for all programs: see docs/mount.md.
 *
 *     import { mount } from "holdfast";
 *     import { mountInKernel } from "holdfast/fuse";
 *     await using volume = await mount("disk.img");
 *     await using kernelMount = await mountInKernel(volume, "/mnt");
 */
export {
  type KernelMount,
  type KernelMountOptions,
  mountInKernel,
  type UnmountOptions,
} from "./kernel-mount.ts";
export { SERVERS_MAX } from "./mount-area.ts";
export { type MountEntry, mountOn, mountTable } from "./mount-table.ts";
export type { Trouble } from "./servers.ts";
export {
  type AccessTimes,
  REMOUNT_WORDS,
  remountFuse,
  type Synchronous,
  unmountFuse,
} from "./system.ts";
