/** `holdfast cat`. */
import { type Job, someOperands, volumeCommand } from "../job.ts";
import type { CommandSpec } from "../usage.ts";

const SPEC: CommandSpec = {
  name: "cat",
  about: "Prints files of a volume, one after the other, byte for byte.",
  usage: ["IMAGE:/PATH..."],
  completes: "volume path",
  options: [],
  examples: [
    "holdfast cat disk.img:/etc/os-release",
    "holdfast cat disk.img:/boot/vmlinuz > vmlinuz",
  ],
};

const PIECE_BYTES = 2 ** 20;

async function cat(job: Job): Promise<void> {
  const piece = new Uint8Array(PIECE_BYTES);
  for (const text of someOperands(job, "a file, as in disk.img:/etc/hosts")) {
    const place = job.places.volume(text);
    const file = job.attempt(place.shown, () =>
      job.places.mounted(place, "read").volume.openSync(place.path),
    );
    if (file === null) continue;
    try {
      for (let at = 0; ; ) {
        await job.breathe();
        const count = job.attempt(place.shown, () => file.readSync(piece, at));
        if (count === null || count === 0) break;
        job.terminal.write(piece.slice(0, count));
        at += count;
      }
    } finally {
      file.closeSync();
    }
  }
}

export const catCommand = volumeCommand(SPEC, cat);
