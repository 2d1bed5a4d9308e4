/** `holdfast tree`. */
import type { Stats } from "../../volume/stats.ts";
import type { Volume } from "../../volume/volume.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { formatBytes, plural } from "../terminal.ts";
import { type CommandSpec, wholeNumber } from "../usage.ts";
import { colouredName, humanSize, nameFor, printLine, textOf } from "./lines.ts";
import { below, shownOf, sortedEntries } from "./walk.ts";

const SPEC: CommandSpec = {
  name: "tree",
  about: "Draws a directory of a volume and all that is below it.",
  usage: ["[OPTIONS] IMAGE[:/PATH]..."],
  completes: "volume path",
  options: [
    ["-a, --all", "also names that begin with a dot"],
    ["-d, --directories", "directories only"],
    ["-L, --depth <n>", "so many levels, at most"],
    ["-s, --size", "with sizes"],
    ["--json", "print each tree as one line of JSON"],
  ],
  examples: ["holdfast tree disk.img", "holdfast tree -L 2 -s disk.img:/usr"],
};

const DEPTH_MAX = 1000;

/** A node of the JSON. */
interface Node {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly target?: string;
  readonly children?: readonly Node[];
}

class Drawing {
  readonly #job: Job;
  readonly #volume: Volume;
  readonly #depthMax: number;
  #directories = 0;
  #files = 0;
  #bytes = 0;

  constructor(job: Job, volume: Volume, depthMax: number) {
    this.#job = job;
    this.#volume = volume;
    this.#depthMax = depthMax;
  }

  get sums(): string {
    const directories = plural(this.#directories, "directory", "directories");
    if (this.#job.has("directories")) return directories;
    const files = plural(this.#files, "file");
    return this.#job.has("size")
      ? `${directories}, ${files} of ${formatBytes(this.#bytes)}`
      : `${directories}, ${files}`;
  }

  #entries(path: Uint8Array, shown: Uint8Array) {
    return (this.#job.attempt(textOf(shown), () => sortedEntries(this.#volume, path)) ?? [])
      .filter(({ nameBytes }) => this.#job.has("all") || nameBytes[0] !== 0x2e)
      .filter(({ type }) => type === "directory" || !this.#job.has("directories"));
  }

  async draw(path: Uint8Array, shown: Uint8Array, before: string, depth: number): Promise<void> {
    const { terminal } = this.#job;
    const entries = this.#entries(path, shown);
    for (const [at, { nameBytes, type }] of entries.entries()) {
      await this.#job.breathe();
      const under = below(path, nameBytes);
      const isLast = at === entries.length - 1;
      const seen = this.#look(under, below(shown, nameBytes));
      if (seen === null) continue;
      const { stats } = seen;
      if (type === "directory") this.#directories++;
      else this.#files++;
      this.#bytes += type === "file" ? stats.size : 0;
      const size = this.#job.has("size") ? `[${humanSize(stats.size).padStart(5)}]  ` : "";
      const target =
        seen.target === null ? [] : [" -> ", nameFor(terminal, Buffer.from(seen.target))];
      const name = colouredName(terminal, nameBytes, type, stats.mode);
      printLine(terminal, `${before}${isLast ? "└── " : "├── "}${size}`, name, ...target);
      if (type !== "directory" || depth >= this.#depthMax) continue;
      const next = `${before}${isLast ? "    " : "│   "}`;
      await this.draw(under, below(shown, nameBytes), next, depth + 1);
    }
  }

  /** Null of what is damaged. */
  #look(path: Uint8Array, shown: Uint8Array): { stats: Stats; target: string | null } | null {
    return this.#job.attempt(textOf(shown), () => {
      const stats = this.#volume.lstatSync(path);
      return { stats, target: stats.isSymbolicLink() ? this.#volume.readlinkSync(path) : null };
    });
  }

  async node(
    name: Uint8Array,
    path: Uint8Array,
    shown: Uint8Array,
    depth: number,
  ): Promise<Node | null> {
    await this.#job.breathe();
    const seen = this.#look(path, shown);
    if (seen === null) return null;
    const { stats, target } = seen;
    const { type } = stats;
    const node = { name: textOf(name), type, size: stats.size };
    if (target !== null) return { ...node, target };
    if (type !== "directory" || depth > this.#depthMax) return node;
    const children: Node[] = [];
    for (const { nameBytes } of this.#entries(path, shown)) {
      const under = below(shown, nameBytes);
      const child = await this.node(nameBytes, below(path, nameBytes), under, depth + 1);
      if (child !== null) children.push(child);
    }
    return { ...node, children };
  }
}

async function tree(job: Job): Promise<void> {
  const depth = job.value("depth");
  const depthMax = depth === null ? Infinity : wholeNumber("depth", depth, 1, DEPTH_MAX);
  const given = job.operands.length === 0 && job.places.session !== null ? ["."] : null;
  for (const text of given ?? someOperands(job, "an image, or IMAGE:/PATH")) {
    const place = job.places.volume(text, "image");
    const volume = job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "read");
      volume.readdirSync(place.path);
      return volume;
    });
    if (volume === null) continue;
    const drawing = new Drawing(job, volume, depthMax);
    const [path, name, shown] = [Buffer.from(place.path), Buffer.from(place.shown), shownOf(place)];
    if (job.json) {
      const root = await drawing.node(name, path, shown, 1);
      if (root !== null) job.terminal.print(JSON.stringify(root));
      continue;
    }
    printLine(job.terminal, colouredName(job.terminal, name, "directory", 0));
    await drawing.draw(path, shown, "", 1);
    job.terminal.print(`\n${drawing.sums}`);
  }
}

export const treeCommand = volumeCommand(SPEC, tree);
