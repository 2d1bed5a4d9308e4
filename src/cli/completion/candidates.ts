/** What a word of a command line may become: commands, options, paths of the host and inside volumes. */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { isSuperblock, SUPERBLOCK_BYTE, SUPERBLOCK_SIZE } from "../../drivers/ext/index.ts";
import { COMMANDS } from "../command-table.ts";
import { Places, splitOf } from "../places.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../usage.ts";

/** Words that follow a command and are no paths. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
  tar: ["in", "out"],
  completion: ["bash", "zsh", "fish"],
};
const HOST_MARK = "host:";
/** Values of options that name something of the host's. */
const HOST_VALUES = /<(?:file|dir|dir\|tar)>$/;

/**
 * What the last of the words, those behind "holdfast", may become; whole words. Directories end with a slash, and more
 * may follow. What cannot be looked at has nothing.
 */
export async function candidates(
  words: readonly string[],
  session: Session | null,
  commands: readonly string[] = Object.keys(COMMANDS),
): Promise<string[]> {
  const current = words.at(-1) ?? "";
  const [name] = words;
  if (words.length <= 1) {
    const more = session === null ? ["--help", "--version"] : [];
    return startingWith(current, [...commands, "help", ...(current.startsWith("-") ? more : [])]);
  }
  if (name === "help") return startingWith(current, commands);
  if (name === undefined || !commands.includes(name)) return [];
  const { spec } = await COMMANDS[name]!.load();
  if (current.startsWith("-") && !words.slice(0, -1).includes("--")) {
    return startingWith(current, flagsOf(spec, current));
  }
  const option = optionBefore(spec, words.at(-2)!);
  if (option !== null) return HOST_VALUES.test(option) ? hostPaths(current) : [];
  if (words.length === 2 && FIXED[name] !== undefined) return startingWith(current, FIXED[name]);
  return paths(spec, current, session);
}

function paths(spec: CommandSpec, current: string, session: Session | null): string[] {
  const { completes } = spec;
  if (completes === "nothing" || completes === "command") return [];
  if (session !== null) {
    if (completes === "image") return [];
    if (!current.startsWith(HOST_MARK)) return volumePaths(current, session);
    return hostPaths(current.slice(HOST_MARK.length)).map((path) => `${HOST_MARK}${path}`);
  }
  if (completes === "host path") return hostPaths(current);
  const inVolume = completes !== "image" && splitOf(current) !== null;
  if (inVolume) return volumePaths(current, null);
  const found = hostPaths(current);
  if (completes === "image") return found;
  return found.map((path) => (isExtImage(path) ? `${path}:/` : path));
}

function startingWith(start: string, names: readonly string[]): string[] {
  return names.filter((name) => name.startsWith(start)).sort();
}

function flagsOf({ options, name }: CommandSpec, current: string): string[] {
  const flags = options.flatMap(([text]) => text.match(/(?<!\S)--?[\w-]+/g) ?? []);
  const long = [...flags, "--help"].filter((flag) => flag.startsWith("--"));
  if (name === "find" && !current.startsWith("--")) return long.map((flag) => flag.slice(1));
  return current === "-" ? [...flags, "--help"] : long;
}

/** The flags of an option whose value comes next, or null. */
function optionBefore({ options }: CommandSpec, word: string): string | null {
  if (!word.startsWith("-")) return null;
  const names = (flags: string): string[] => flags.match(/(?<!\S)--?[\w-]+/g) ?? [];
  const found = options.find(([flags]) =>
    names(flags).some((flag) => flag === word || flag === `-${word}`),
  );
  return found?.[0].includes("<") ? found[0] : null;
}

/** The directory of a path, with its slash, and the name that has begun. */
function split(path: string): { readonly directory: string; readonly start: string } {
  const slash = path.lastIndexOf("/") + 1;
  return { directory: path.slice(0, slash), start: path.slice(slash) };
}

function hostPaths(current: string): string[] {
  const { directory, start } = split(current);
  try {
    return readdirSync(directory === "" ? "." : directory)
      .filter((name) => name.startsWith(start) && (start !== "" || !name.startsWith(".")))
      .sort()
      .map((name) => `${directory}${name}`)
      .map((path) => (isDirectory(path) ? `${path}/` : path));
  } catch {
    return [];
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isExtImage(path: string): boolean {
  const bytes = new Uint8Array(SUPERBLOCK_SIZE);
  try {
    if (!statSync(path).isFile() && !statSync(path).isBlockDevice()) return false;
    const fd = openSync(path, "r");
    try {
      const count = readSync(fd, bytes, 0, SUPERBLOCK_SIZE, SUPERBLOCK_BYTE);
      return count === SUPERBLOCK_SIZE && isSuperblock(bytes);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

function volumePaths(current: string, session: Session | null): string[] {
  const colon = session === null ? current.indexOf(":/") + 1 || current.length : 0;
  const [image, path] = [current.slice(0, colon), current.slice(colon)];
  const { directory, start } = split(path);
  try {
    using places = new Places(session);
    const place = places.volume(
      `${image}${directory === "" ? (session === null ? "/" : ".") : directory}`,
    );
    const { volume } = places.mounted(place, "read");
    return volume
      .readdirSync(place.path, { withFileTypes: true })
      .filter(({ name }) => name.startsWith(start) && (start !== "" || !name.startsWith(".")))
      .map((entry) => {
        const found = `${image}${directory}${entry.name}`;
        const leads =
          entry.isSymbolicLink() && leadsToDirectory(volume, `${place.path}/${entry.name}`);
        return entry.isDirectory() || leads ? `${found}/` : found;
      })
      .sort();
  } catch {
    return [];
  }
}

function leadsToDirectory(
  volume: { existsSync(path: string): boolean; statSync(path: string): { isDirectory(): boolean } },
  path: string,
): boolean {
  return volume.existsSync(path) && volume.statSync(path).isDirectory();
}
