// The package has no types. What the bench calls of it; flags as text, no numbers.
declare module "ext2fs" {
  import type { FileDisk } from "file-disk";

  interface OpenFile {
    close(): Promise<void>;
  }

  interface Calls {
    open(path: string, flags: string): Promise<OpenFile>;
    unlink(path: string): Promise<void>;
    rename(from: string, to: string): Promise<void>;
    mkdir(path: string): Promise<void>;
    rmdir(path: string): Promise<void>;
    lstat(path: string): Promise<import("node:fs").Stats>;
    readdir(path: string): Promise<string[]>;
    readFile(path: string): Promise<Uint8Array>;
    writeFile(path: string, bytes: Uint8Array): Promise<void>;
    readlink(path: string): Promise<string>;
    symlink(target: string, path: string): Promise<void>;
    chmod(path: string, mode: number): Promise<void>;
  }

  export function withMountedDisk<T>(
    disk: FileDisk,
    offset: number,
    use: (mounted: { readonly promises: Calls }) => Promise<T>,
  ): Promise<T>;
}
