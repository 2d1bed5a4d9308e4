/** `holdfast ls`. */
import type { FileType } from "../../iomap/contract.ts";
import type { Stats } from "../../volume/stats.ts";
import type { Volume } from "../../volume/volume.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import type { CommandSpec } from "../usage.ts";
import {
  bytesOf,
  colouredName,
  factsOf,
  humanSize,
  minuteText,
  modeText,
  nameFor,
  type Part,
  printLine,
  textOf,
} from "./lines.ts";
import { below, nameOf, shownOf, sortedEntries } from "./walk.ts";

const SPEC: CommandSpec = {
  name: "ls",
  about: "Lists directories of a volume, and what is known of what is in them.",
  usage: ["[OPTIONS] IMAGE[:/PATH]..."],
  completes: "volume path",
  options: [
    ["-l, --long", "a line each: mode, links, owner and group by number, size, time, name"],
    ["-a, --all", "also names that begin with a dot"],
    ["-R, --recursive", "also the directories below"],
    ["-i, --inode", "with inode numbers"],
    ["-h, --human-readable", "sizes as 1.5K, 20M"],
    ["-d, --directory", "directories themselves, not what is in them"],
    ["-1, --one", "a name a line; so it is where the output is no terminal"],
    ["--json", "print a line of JSON for each"],
  ],
  examples: [
    "holdfast ls disk.img",
    "holdfast ls -lh disk.img:/var/log",
    "holdfast ls -R --json disk.img:/ | jq -r 'select(.size > 1e6) | .path'",
  ],
};

interface Listed {
  readonly name: Uint8Array;
  readonly path: Uint8Array;
  readonly type: FileType;
  /** Null where nobody asks for more than the name. */
  readonly stats: Stats | null;
}

async function ls(job: Job): Promise<void> {
  const given = job.operands.length === 0 && job.places.session !== null ? ["."] : null;
  const operands = given ?? someOperands(job, "an image, or IMAGE:/PATH");
  const directories: (() => Promise<void>)[] = [];
  const isTitled = operands.length > 1 || job.has("recursive");
  const state = { isFirst: true };
  for (const text of operands) {
    const place = job.places.volume(text, "image");
    job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "read");
      const listing = new Listing(job, volume, state);
      const path = Buffer.from(place.path);
      const stats = listing.follows ? volume.statSync(path) : volume.lstatSync(path);
      if (stats.isDirectory() && !job.has("directory")) {
        directories.push(() => listing.directory(path, shownOf(place), isTitled));
        return;
      }
      state.isFirst = false;
      listing.print([{ name: Buffer.from(place.shown), path, type: stats.type, stats }]);
    });
  }
  for (const list of directories) await list();
}

class Listing {
  readonly #job: Job;
  readonly #long: boolean;
  readonly #volume: Volume;
  /** Of the whole command: whether nothing has been printed yet. */
  readonly #state: { isFirst: boolean };

  constructor(job: Job, volume: Volume, state: { isFirst: boolean }) {
    this.#job = job;
    this.#long = job.has("long");
    this.#volume = volume;
    this.#state = state;
  }

  /** As ls: a symlink that is named itself is followed but in the long form. */
  get follows(): boolean {
    return !this.#long && !this.#job.has("directory");
  }

  async directory(path: Uint8Array, shown: Uint8Array, isTitled: boolean): Promise<void> {
    const job = this.#job;
    await job.breathe();
    const listed = job.attempt(textOf(shown), () => this.#entriesOf(path, shown));
    if (listed === null) return;
    if (isTitled && !job.json) {
      if (!this.#state.isFirst) job.terminal.print();
      printLine(job.terminal, nameFor(job.terminal, shown), ":");
    }
    this.#state.isFirst = false;
    this.print(listed, shown);
    if (!job.has("recursive")) return;
    for (const { type, path: under, name } of listed) {
      if (type !== "directory" || isDots(name)) continue;
      await this.directory(under, below(shown, name), isTitled);
    }
  }

  #entriesOf(path: Uint8Array, shown: Uint8Array): Listed[] {
    const job = this.#job;
    const all = job.has("all");
    const wantsStats = this.#long || job.json || job.terminal.isPerson;
    const names = sortedEntries(this.#volume, path)
      .filter(({ nameBytes }) => all || nameBytes[0] !== 0x2e)
      .map(({ nameBytes, type }) => ({ name: nameBytes, type }));
    const dots = all && !job.json ? [".", ".."].map((name) => Buffer.from(name)) : [];
    const entries = [...dots.map((name) => ({ name, type: "directory" as FileType })), ...names];
    return entries.flatMap(({ name, type }): Listed[] => {
      const under = below(path, name);
      if (!wantsStats && !job.has("inode")) return [{ name, path: under, type, stats: null }];
      const stats = job.attempt(textOf(below(shown, name)), () => this.#volume.lstatSync(under));
      return stats === null ? [] : [{ name, path: under, type, stats }];
    });
  }

  /** `shown`: the directory that they are in; without it names are whole. */
  print(listed: readonly Listed[], shown: Uint8Array | null = null): void {
    const job = this.#job;
    if (job.json) {
      for (const each of listed) {
        const { path, stats } = each;
        const whole = wholeName(each, shown);
        const target = stats!.isSymbolicLink() ? this.#target(path, whole) : null;
        const facts = factsOf(whole, stats!);
        job.terminal.print(JSON.stringify(target === null ? facts : { ...facts, target }));
      }
    } else if (this.#long) this.#printLong(listed, shown);
    else if (job.terminal.isPerson && !job.has("one")) this.#printColumns(listed);
    else for (const each of listed) printLine(job.terminal, this.#inode(each), this.#name(each));
  }

  /** Null of a symlink that is damaged. */
  #target(path: Uint8Array, shown: Uint8Array): string | null {
    return this.#job.attempt(textOf(shown), () => this.#volume.readlinkSync(path));
  }

  #name({ name, type, stats }: Listed): Part {
    return colouredName(this.#job.terminal, name, type, stats?.mode ?? 0);
  }

  #inode({ stats }: Listed, width = 0): string {
    return this.#job.has("inode") ? `${String(stats!.ino).padStart(width)} ` : "";
  }

  #printLong(listed: readonly Listed[], shown: Uint8Array | null): void {
    const { terminal } = this.#job;
    const rows = listed.map((each) => {
      const stats = each.stats!;
      return {
        each,
        ino: String(stats.ino),
        nlink: String(stats.nlink),
        uid: String(stats.uid),
        gid: String(stats.gid),
        size: this.#size(stats, each.type),
      };
    });
    const width = (name: "ino" | "nlink" | "uid" | "gid" | "size"): number =>
      rows.reduce((most, row) => Math.max(most, row[name].length), 0);
    const widths = {
      ino: width("ino"),
      nlink: width("nlink"),
      uid: width("uid"),
      gid: width("gid"),
      size: width("size"),
    };
    for (const { each, nlink, uid, gid, size } of rows) {
      const stats = each.stats!;
      const columns = [
        modeText(each.type, stats.mode),
        nlink.padStart(widths.nlink),
        uid.padEnd(widths.uid),
        gid.padEnd(widths.gid),
        size.padStart(widths.size),
        minuteText(stats.mtime),
      ];
      const target =
        each.type === "symlink" ? this.#target(each.path, wholeName(each, shown)) : null;
      const link = target === null ? [] : [" -> ", nameFor(terminal, Buffer.from(target))];
      const start = `${this.#inode(each, widths.ino)}${columns.join(" ")} `;
      printLine(terminal, start, this.#name(each), ...link);
    }
  }

  #size(stats: Stats, type: FileType): string {
    if (type.endsWith("device")) {
      const { major, minor } = stats.device;
      return `${major}, ${minor}`;
    }
    return this.#job.has("human-readable") ? humanSize(stats.size) : String(stats.size);
  }

  /** In columns that go down first, as narrow as fits. */
  #printColumns(listed: readonly Listed[]): void {
    const { terminal } = this.#job;
    const cells = listed.map((each) => {
      const inode = this.#inode(each);
      const plain = textOf(bytesOf([inode, nameFor(terminal, each.name)]));
      return { text: textOf(bytesOf([inode, this.#name(each)])), width: plain.length };
    });
    for (let rows = 1; rows <= cells.length; rows++) {
      const columns = Math.ceil(cells.length / rows);
      const widths = Array.from({ length: columns }, (_, column) =>
        Math.max(...cells.slice(column * rows, (column + 1) * rows).map(({ width }) => width)),
      );
      const total = widths.reduce((sum, width) => sum + width + 2, -2);
      if (total > terminal.columns && rows < cells.length) continue;
      for (let row = 0; row < rows; row++) {
        const line = widths.map((width, column) => {
          const cell = cells[column * rows + row];
          return cell === undefined ? "" : cell.text + " ".repeat(width - cell.width + 2);
        });
        terminal.print(line.join("").trimEnd());
      }
      return;
    }
  }
}

/** With the directory that it is in, where that is not in the name already. */
function wholeName({ name }: Listed, shown: Uint8Array | null): Uint8Array {
  return shown === null ? name : below(shown, name);
}

function isDots(name: Uint8Array): boolean {
  const text = textOf(nameOf(name));
  return text === "." || text === "..";
}

export const lsCommand = volumeCommand(SPEC, ls);
