// Storage that fails, or loses its power: the system calls that put bytes on the medium answer an error at the n-th
// call, and copy what they put there to a second image, in a process of its own. The library that answers in their
// place is compiled by the machine's C compiler.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { dist } from "../../scripts/tree.js";
import { run, runOk, type TemporaryDirectory, temporaryDirectory } from "./tools.ts";

const library = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <errno.h>
  #include <fcntl.h>
  #include <stdatomic.h>
  #include <stddef.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>
  #include <unistd.h>

  static atomic_int calls_left = -1;
  static atomic_int answer, lasts;

  /* From the n-th call on, counted from 0, it answers an error: once, or for good. -1: never. */
  void fail_at(int call, int error, int for_good) {
    answer = error;
    lasts = for_good;
    calls_left = call;
  }

  static int fails(void) {
    int left = calls_left;
    if (left < 0) return 0;
    if (left > 0) return atomic_fetch_sub(&calls_left, 1), 0;
    if (!lasts) calls_left = -1;
    errno = answer;
    return 1;
  }

  static char image[4096];
  static int medium = -1;
  static atomic_int persists;

  /* From now on what is put on the medium of an image is copied to another file, and nothing else is. */
  void keep_medium(const char *of, const char *copy) {
    if (!realpath(of, image)) abort();
    medium = open(copy, O_RDWR | O_CLOEXEC);
    if (medium < 0) abort();
  }

  /* How often something was put there. */
  int count_persists(void) { return persists; }

  static void copy_range(int from, off_t at, off_t end) {
    static _Thread_local char buffer[1 << 16];
    while (at < end) {
      size_t part = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
      ssize_t got = pread(from, buffer, part, at);
      if (got <= 0) return;
      if (pwrite(medium, buffer, got, at) != got) abort();
      at += got;
    }
  }

  /* What is mapped of the image in a range of addresses. */
  static void copy_mapped(unsigned long first, unsigned long last) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[8192], path[4096];
    unsigned long start, end, offset;
    int from = open(image, O_RDONLY | O_CLOEXEC);
    while (maps && fgets(line, sizeof line, maps)) {
      if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %4095s", &start, &end, &offset, path) < 4) continue;
      if (strcmp(path, image) != 0 || start >= last || end <= first) continue;
      unsigned long low = start > first ? start : first, high = end < last ? end : last;
      copy_range(from, offset + (low - start), offset + (high - start));
    }
    if (maps) fclose(maps);
    close(from);
  }

  typedef void *(*look_up)(void *, const char *);
  static look_up real_dlsym(void) {
    static const char *versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    static look_up found;
    for (int i = 0; i < 3 && !found; i++) found = (look_up)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    return found;
  }

  int msync(void *address, size_t length, int flags) {
    if (fails()) return -1;
    persists++;
    if (medium >= 0) copy_mapped((unsigned long)address, (unsigned long)address + length);
    return ((int (*)(void *, size_t, int))real_dlsym()(RTLD_NEXT, "msync"))(address, length, flags);
  }

  int fdatasync(int fd) {
    if (fails()) return -1;
    persists++;
    if (medium >= 0) {
      int from = open(image, O_RDONLY | O_CLOEXEC);
      copy_range(from, 0, lseek(from, 0, SEEK_END));
      close(from);
    }
    return ((int (*)(int))real_dlsym()(RTLD_NEXT, "fdatasync"))(fd);
  }

  /* Puts nothing on the medium, but finds out that it cannot be put there. */
  int sync_file_range(int fd, off_t at, off_t length, unsigned flags) {
    if (fails()) return -1;
    return ((int (*)(int, off_t, off_t, unsigned))real_dlsym()(RTLD_NEXT, "sync_file_range"))(fd, at, length, flags);
  }

  /* koffi asks the C library for its functions by name. */
  void *dlsym(void *handle, const char *name) {
    if (strcmp(name, "msync") == 0) return (void *)msync;
    if (strcmp(name, "sync_file_range") == 0) return (void *)sync_file_range;
    if (strcmp(name, "fail_at") == 0) return (void *)fail_at;
    if (strcmp(name, "keep_medium") == 0) return (void *)keep_medium;
    if (strcmp(name, "count_persists") == 0) return (void *)count_persists;
    return real_dlsym()(handle, name);
  }`;

let compiled: { directory: TemporaryDirectory; path: string } | null = null;

function compiledLibrary(): string {
  if (compiled === null) {
    const directory = temporaryDirectory();
    const path = directory.file("faulty.so");
    writeFileSync(directory.file("faulty.c"), library);
    runOk("cc", ["-shared", "-fPIC", "-o", path, directory.file("faulty.c"), "-ldl"]);
    compiled = { directory, path };
  }
  return compiled.path;
}

/** What a program can do with its storage. */
export interface FaultyStorage {
  /** From the n-th call on, counted from 0, it answers an error: once, or for good. -1: never. */
  failAt(call: number, errno: number, forGood: boolean): void;
  /** From now on what is put on the medium of `image` is copied to `copy`, which is there already. */
  keepMedium(image: string, copy: string): void;
  /** How often something was put on the medium. */
  persists(): number;
}

/**
 * Runs a program in a process whose storage can fail, and answers what it returns. It closes over nothing
 * but `holdfast`, the package; node's `fs`; the storage; and its arguments.
 */
// biome-ignore lint/suspicious/noExplicitAny: the arguments are the program's to type
export function runFaulty<A extends any[], T>(
  program: (
    holdfast: typeof import("../../src/index.ts"),
    fs: typeof import("node:fs"),
    storage: FaultyStorage,
    ...args: A
  ) => T | Promise<T>,
  ...args: A
): T {
  const place = (path: string): string => pathToFileURL(join(dist, path)).href;
  const text = `
    import * as holdfast from ${JSON.stringify(place("index.js"))};
    import fs from "node:fs";
    import { bindFunction } from ${JSON.stringify(place("base/libc.js"))};
    const failAt = bindFunction("void fail_at(int call, int error, int forGood)");
    const storage = {
      failAt: (call, error, forGood) => failAt(call, error, forGood ? 1 : 0),
      keepMedium: bindFunction("void keep_medium(const char *of, const char *copy)"),
      persists: bindFunction("int count_persists(void)"),
    };
    const answer = await (${program})(holdfast, fs, storage, ...${JSON.stringify(args)});
    console.log(JSON.stringify(answer ?? null));`;
  const outcome = run("env", [
    `LD_PRELOAD=${compiledLibrary()}`,
    process.execPath,
    "--input-type=module",
    "-e",
    text,
  ]);
  if (outcome.code !== 0) throw new Error(`it ended with ${outcome.code}: ${outcome.stderr}`);
  return JSON.parse(outcome.stdout) as T;
}
