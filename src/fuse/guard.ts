/**
 * Taking a mount away whose server has died: programs would get ENOTCONN there for ever.
 *
 * A shell waits for the end of a pipe that this process has open. A line through it: all is well. The end without one: this
 * process has died, and what is mounted there, if it still is that mount, is detached. It outlives signals to the process
 * group, and is no child of anybody who would wait for it.
 */
import { spawn } from "node:child_process";

const SCRIPT = `trap '' INT TERM HUP
IFS= read -r line && exit 0
grep -q "^[0-9]* [0-9]* $2 " /proc/self/mountinfo || exit 0
if [ "$(id -u)" = 0 ]; then umount -i -l -- "$1"; else fusermount3 -u -z -- "$1"; fi`;

export class Guard implements Disposable {
  readonly #end: () => void;

  /** `device`: of the mount, as the mount table has it. */
  constructor(directory: string, device: string) {
    const child = spawn("/bin/sh", ["-c", SCRIPT, "holdfast-guard", directory, device], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      cwd: "/",
    });
    const pipe = child.stdin!;
    // Without it a mount is left behind by a crash, and that is all.
    child.on("error", () => {});
    pipe.on("error", () => {});
    child.unref();
    (pipe as unknown as { unref(): void }).unref();
    this.#end = () => pipe.end("done\n");
  }

  /** The mount is gone, or somebody else's affair. */
  [Symbol.dispose](): void {
    this.#end();
  }
}
