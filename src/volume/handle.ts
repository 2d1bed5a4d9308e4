/** What another thread needs to use a volume. */
import type { DeviceHandle } from "../device/index.ts";
import type { FaultPortHandle } from "../window/fault-port.ts";
import type { DaxMode } from "./access-mode.ts";
import type { DriverFacts } from "./drivers.ts";

/**
 * A volume, to be posted to other threads of this process (workerData, postMessage) and given to
 * `attach` there. Plain data.
 */
export interface VolumeHandle {
  /** Tells one mount from another. */
  readonly id: string;
  readonly region: SharedArrayBuffer;
  readonly device: DeviceHandle;
  readonly driver: DriverFacts;
  /** Null where windows are shown whole, without faults. */
  readonly port: FaultPortHandle | null;
  readonly readOnly: boolean;
  readonly readOnlyReason: string | null;
  readonly protect: boolean;
  readonly dax: DaxMode;
  /** Null where no file can be copied. */
  readonly cache: DeviceHandle | null;
}
