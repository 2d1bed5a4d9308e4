/** Direct-access devices on their own: storage as memory, without a filesystem. */
export { attachDevice, Device, type DeviceHandle, type DeviceKind } from "./device.ts";
export {
  type ByteRun,
  dataRuns,
  type HostAttribute,
  hostAttributes,
  makeHostNode,
  setHostAttribute,
  setHostTimes,
} from "./host-file.ts";
export { NewDevice } from "./new-device.ts";
export { memoryDevice, type OpenDeviceOptions, openDevice } from "./open.ts";
export { LocalSegmentTable, SEGMENT_SIZE, type SegmentTable, VIEW_SIZE } from "./segments.ts";
