/**
 * How `holdfast umount` knows that a volume is left in order: whoever serves a mount listens at a socket named by the
 * mount's device number, and tells there how it has ended. (Unmounting ends when the kernel has let go of the mount; what
 * is written then is still on its way.) The name is in the abstract namespace, so nothing is left behind by a crash.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

function nameOf(device: string): string {
  return `\0holdfast-mount-${device}`;
}

/** How a mount has ended: null in order, or why not. */
export interface Ending {
  readonly error: string | null;
}

export class Presence {
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();

  constructor(device: string) {
    this.#server = createServer((socket) => {
      this.#waiting.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#waiting.delete(socket));
    });
    // Where the name is taken nobody is told, and that is all.
    this.#server.on("error", () => {});
    this.#server.listen(nameOf(device));
    this.#server.unref();
  }

  end(ending: Ending): void {
    this.#server.close();
    for (const socket of this.#waiting) socket.end(JSON.stringify(ending));
  }
}

/** Who waits for the end of a mount. */
export class Listener implements Disposable {
  readonly #socket: Socket;
  #said = "";
  /** Null when nobody says how it was. */
  readonly ending: Promise<Ending | null>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#said += chunk.toString();
    });
    this.ending = new Promise<Ending | null>((resolve) => {
      socket.on("error", () => resolve(null));
      socket.on("close", () => {
        resolve(this.#said === "" ? null : (JSON.parse(this.#said) as Ending));
      });
    });
  }

  /** From now on; nobody may be there to be heard. */
  static async begin(device: string): Promise<Listener> {
    const socket = connect(nameOf(device));
    const listener = new Listener(socket);
    await new Promise<void>((resolve) => {
      socket.once("connect", resolve);
      socket.once("error", () => resolve());
    });
    return listener;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
