// Storage that fails: the system calls that put bytes on the medium answer an error at the n-th call, in a
// process of its own. The library that answers in their place is compiled by the machine's C compiler.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { dist } from "../../scripts/tree.js";
import { run, runOk, type TemporaryDirectory, temporaryDirectory } from "./tools.ts";

const library = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <errno.h>
  #include <stdatomic.h>
  #include <stddef.h>
  #include <string.h>

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

  typedef void *(*look_up)(void *, const char *);
  static look_up real_dlsym(void) {
    static const char *versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    static look_up found;
    for (int i = 0; i < 3 && !found; i++) found = (look_up)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    return found;
  }

  int msync(void *address, size_t length, int flags) {
    if (fails()) return -1;
    return ((int (*)(void *, size_t, int))real_dlsym()(RTLD_NEXT, "msync"))(address, length, flags);
  }

  int fdatasync(int fd) {
    if (fails()) return -1;
    return ((int (*)(int))real_dlsym()(RTLD_NEXT, "fdatasync"))(fd);
  }

  /* koffi asks the C library for its functions by name. */
  void *dlsym(void *handle, const char *name) {
    if (strcmp(name, "msync") == 0) return (void *)msync;
    if (strcmp(name, "fail_at") == 0) return (void *)fail_at;
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

/**
 * Runs a program in a process whose storage can fail, and answers what it returns. It closes over nothing
 * but `holdfast`, the package; node's `fs`; `failAt(call, errno, forGood)`, as above; and its arguments.
 */
// biome-ignore lint/suspicious/noExplicitAny: the arguments are the program's to type
export function runFaulty<A extends any[], T>(
  program: (
    holdfast: typeof import("../../src/index.ts"),
    fs: typeof import("node:fs"),
    failAt: (call: number, errno: number, forGood: boolean) => void,
    ...args: A
  ) => T | Promise<T>,
  ...args: A
): T {
  const place = (path: string): string => pathToFileURL(join(dist, path)).href;
  const text = `
    import * as holdfast from ${JSON.stringify(place("index.js"))};
    import fs from "node:fs";
    import { bindFunction } from ${JSON.stringify(place("base/libc.js"))};
    const bound = bindFunction("void fail_at(int call, int error, int forGood)");
    const failAt = (call, error, forGood) => bound(call, error, forGood ? 1 : 0);
    const answer = await (${program})(holdfast, fs, failAt, ...${JSON.stringify(args)});
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
