/** The subcommands, and where each is. */
import type { CommandBody } from "./usage.ts";

export const GROUPS = [
  "Volumes",
  "Files in volumes",
  "Storage under files",
  "The package itself",
] as const;

interface Command {
  readonly group: (typeof GROUPS)[number];
  /** One line for `holdfast --help`. */
  readonly summary: string;
  load(): Promise<CommandBody>;
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  mkfs: {
    group: "Volumes",
    summary: "make an ext2, ext3 or ext4 volume on an image or device, filled if wanted",
    load: async () => (await import("./mkfs/command.ts")).mkfsCommand,
  },
  info: {
    group: "Volumes",
    summary: "tell what a volume is: its superblock, features, groups",
    load: async () => (await import("./storage/info.ts")).infoCommand,
  },
  df: {
    group: "Volumes",
    summary: "tell how much room volumes have",
    load: async () => (await import("./files/df.ts")).dfCommand,
  },
  fsck: {
    group: "Volumes",
    summary: "check an ext2, ext3 or ext4 volume, and say what is wrong with it",
    load: async () => (await import("./fsck/command.ts")).fsckCommand,
  },
  resize: {
    group: "Volumes",
    summary: "make an ext2, ext3 or ext4 volume larger",
    load: async () => (await import("./resize/command.ts")).resizeCommand,
  },
  trim: {
    group: "Volumes",
    summary: "tell what is below a volume which of its blocks are free: holes in an image file",
    load: async () => (await import("./trim/command.ts")).trimCommand,
  },
  mount: {
    group: "Volumes",
    summary: "mount an ext2, ext3 or ext4 volume in the system's tree of files",
    load: async () => (await import("./mount/command.ts")).mountCommand,
  },
  umount: {
    group: "Volumes",
    summary: "unmount what 'holdfast mount' has mounted",
    load: async () => (await import("./mount/command.ts")).umountCommand,
  },
  ls: {
    group: "Files in volumes",
    summary: "list directories",
    load: async () => (await import("./files/ls.ts")).lsCommand,
  },
  tree: {
    group: "Files in volumes",
    summary: "draw a directory and all below it",
    load: async () => (await import("./files/tree.ts")).treeCommand,
  },
  cat: {
    group: "Files in volumes",
    summary: "print files",
    load: async () => (await import("./files/cat.ts")).catCommand,
  },
  stat: {
    group: "Files in volumes",
    summary: "tell all that is known of files",
    load: async () => (await import("./files/stat.ts")).statCommand,
  },
  du: {
    group: "Files in volumes",
    summary: "tell how much room directories take",
    load: async () => (await import("./files/du.ts")).duCommand,
  },
  find: {
    group: "Files in volumes",
    summary: "find files by name, type, size or time",
    load: async () => (await import("./files/find.ts")).findCommand,
  },
  cp: {
    group: "Files in volumes",
    summary: "copy files into volumes, out of them, within them, between them",
    load: async () => (await import("./files/cp.ts")).cpCommand,
  },
  tar: {
    group: "Files in volumes",
    summary: "write a directory as a tar archive, or put an archive into one",
    load: async () => (await import("./files/tar.ts")).tarCommand,
  },
  mkdir: {
    group: "Files in volumes",
    summary: "make directories",
    load: async () => (await import("./files/changing.ts")).mkdirCommand,
  },
  rm: {
    group: "Files in volumes",
    summary: "remove files and directories",
    load: async () => (await import("./files/changing.ts")).rmCommand,
  },
  mv: {
    group: "Files in volumes",
    summary: "rename and move files",
    load: async () => (await import("./files/changing.ts")).mvCommand,
  },
  ln: {
    group: "Files in volumes",
    summary: "give files further names, make symlinks",
    load: async () => (await import("./files/changing.ts")).lnCommand,
  },
  edit: {
    group: "Files in volumes",
    summary: "edit a file in $EDITOR",
    load: async () => (await import("./files/edit.ts")).editCommand,
  },
  shell: {
    group: "Files in volumes",
    summary: "run all of these on one volume, with a current directory and completion",
    load: async () => (await import("./shell/command.ts")).shellCommand,
  },
  map: {
    group: "Storage under files",
    summary: "draw where a file's blocks lie, and which can be huge pages",
    load: async () => (await import("./storage/map.ts")).mapCommand,
  },
  blocks: {
    group: "Storage under files",
    summary: "tell which files own blocks",
    load: async () => (await import("./storage/blocks.ts")).blocksCommand,
  },
  check: {
    group: "The package itself",
    summary: "explore the interleavings of the core's scenarios, and of its variants",
    load: async () => (await import("./check/command.ts")).check,
  },
  collide: {
    group: "The package itself",
    summary: "run I/O into mapped files against layout changes, and check every block",
    load: async () => (await import("./collide/command.ts")).collide,
  },
  completion: {
    group: "The package itself",
    summary: "print completion scripts for bash, zsh and fish",
    load: async () => (await import("./completion/command.ts")).completionCommand,
  },
  trace: {
    group: "The package itself",
    summary: "run a program and tell what its volumes do: faults, pins, layout changes, write-back",
    load: async () => (await import("./trace/command.ts")).trace,
  },
};
