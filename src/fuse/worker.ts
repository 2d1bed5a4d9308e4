/** The thread that serves a mount. Loaded by a Worker, never imported. */
import { parentPort, workerData } from "node:worker_threads";
import { attachCore } from "../volume/mount.ts";
import type { WorkerMessage, WorkerTask } from "./worker-messages.ts";
import { Opcode, type OpcodeName } from "./protocol.ts";
import { serve } from "./session.ts";

const { handle, fd, options } = workerData as WorkerTask;

function tell(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

function opcodeName(opcode: number): string {
  const names = Object.keys(Opcode) as OpcodeName[];
  return names.find((name) => Opcode[name] === opcode) ?? `operation ${opcode}`;
}

const { volume, core } = attachCore(handle);
try {
  serve(core, fd, options, {
    onReady: () => tell({ what: "ready" }),
    onError: (error, opcode) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ what: "trouble", operation: opcodeName(opcode), text });
    },
  });
} finally {
  volume.closeSync();
}
