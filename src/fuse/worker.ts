/** A thread that serves a mount. Loaded by a Worker, never imported. */
import { parentPort, workerData } from "node:worker_threads";
import { attachCore } from "../volume/mount.ts";
import { RECALLER } from "./mount-area.ts";
import { Opcode, type OpcodeName } from "./protocol.ts";
import { passRecallsOn } from "./recalls.ts";
import { serve } from "./session.ts";
import { SharedMount } from "./shared-mount.ts";
import type { StartMessage, WorkerMessage, WorkerTask } from "./worker-messages.ts";

const { handle, options, index, fd } = workerData as WorkerTask;

function tell(message: WorkerMessage): void {
  parentPort!.postMessage(message);
}

function opcodeName(opcode: number): string {
  const names = Object.keys(Opcode) as OpcodeName[];
  return names.find((name) => Opcode[name] === opcode) ?? `operation ${opcode}`;
}

const { volume, core } = attachCore(handle);

function serveAs(mount: SharedMount, descriptor: number): void {
  serve(core, descriptor, mount, options, {
    onReady: () => tell({ what: "ready", mount: mount.handle }),
    onError: (error, opcode) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ what: "trouble", operation: opcodeName(opcode), text });
    },
  });
}

/** As another than the first thread. */
function follow(start: StartMessage): void {
  const mount = start === null ? null : SharedMount.join(core, start.mount, index);
  if (start === null || mount === null) return;
  const ready = (): void => tell({ what: "ready", mount: start.mount });
  if (index === RECALLER) passRecallsOn(core, start.fd, mount, ready);
  else {
    ready();
    serveAs(mount, start.fd);
  }
}

if (fd === null) {
  parentPort!.once("message", (start: StartMessage) => {
    try {
      follow(start);
    } finally {
      volume.closeSync();
    }
  });
} else {
  try {
    serveAs(SharedMount.begin(core), fd);
  } finally {
    volume.closeSync();
  }
}
