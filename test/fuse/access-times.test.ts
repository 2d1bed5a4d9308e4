// Times of access: which readings set them, by each policy of mount(8), as on the kernel's own ext4.

import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import {
  hasTool,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { Mounted, needs, pause } from "./mounted.ts";

const SIZE = 64 * 2 ** 20;
const DAYS_MS = 86_400_000;
/** Source: asm-generic/fcntl.h. */
const O_NOATIME = 0o1000000;

const read = (path: string, flags = fs.constants.O_RDONLY): void => {
  const fd = fs.openSync(path, flags);
  fs.readSync(fd, Buffer.alloc(10));
  fs.closeSync(fd);
};

/** What each step has changed of a file's times. */
function story(directory: string): string[] {
  const at = (name: string): string => join(directory, name);
  const told: string[] = [];
  const step = (what: string, name: string, action: () => void): void => {
    const times = (): bigint[] => {
      const { atimeNs, mtimeNs, ctimeNs } = fs.lstatSync(at(name), { bigint: true });
      return [atimeNs, mtimeNs, ctimeNs];
    };
    const before = times();
    pause();
    action();
    const after = times();
    const changed = ["atime", "mtime", "ctime"].filter(
      (_, index) => before[index] !== after[index],
    );
    told.push(`${what}: ${changed.join(" ")}`);
  };

  fs.writeFileSync(at("f"), "content");
  fs.writeFileSync(at("tool"), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  fs.mkdirSync(at("d"));
  fs.writeFileSync(at("d/x"), "");
  fs.symlinkSync("f", at("s"));
  pause();
  step("stat", "f", () => fs.statSync(at("f")));
  step("O_NOATIME", "f", () => read(at("f"), O_NOATIME));
  step("opened, not read", "f", () => fs.closeSync(fs.openSync(at("f"), "r")));
  step("read", "f", () => read(at("f")));
  step("read again", "f", () => read(at("f")));
  step("written", "f", () => fs.appendFileSync(at("f"), "more"));
  step("read after that", "f", () => read(at("f")));
  step("chmod", "f", () => fs.chmodSync(at("f"), 0o600));
  step("read after that", "f", () => read(at("f")));
  const now = Date.now();
  fs.utimesSync(at("f"), new Date(now - 3 * DAYS_MS), new Date(now - 5 * DAYS_MS));
  step("read a day later", "f", () => read(at("f")));
  step("read again", "f", () => read(at("f")));
  if (hasTool("chattr")) {
    runOk("chattr", ["+A", at("f")]);
    step("read with chattr +A", "f", () => read(at("f")));
    runOk("chattr", ["-A", at("f")]);
    step("read with chattr -A", "f", () => read(at("f")));
  }
  step("run", "tool", () => void runOk(at("tool"), []));
  step("listed", "d", () => fs.readdirSync(at("d")));
  step("listed again", "d", () => fs.readdirSync(at("d")));
  step("a name more", "d", () => fs.writeFileSync(at("d/y"), ""));
  step("listed after that", "d", () => fs.readdirSync(at("d")));
  step("followed", "s", () => read(at("s")));
  step("told", "s", () => fs.readlinkSync(at("s")));
  return told;
}

describe.each([
  "noatime",
  "relatime",
  "strictatime",
  "relatime,nodiratime",
  "strictatime,nodiratime",
])("%s", (policy) => {
  skipUnless(...needs, "loop mounts")("reading sets what it sets on the kernel's ext4", () => {
    using mounted = new Mounted(SIZE);
    const ours = mounted.with(
      (directory) => {
        const words = runOk("findmnt", ["-no", "OPTIONS", directory]);
        const wanted = policy.split(",").filter((word) => word !== "strictatime");
        expect(words.trim().split(",")).toEqual(expect.arrayContaining(wanted));
        return story(directory);
      },
      "-o",
      policy,
    );
    using scratch = temporaryDirectory();
    mkfsExt4(scratch.file("image"), SIZE);
    using place = temporaryDirectory();
    using kernel = loopMount(scratch.file("image"), place.path, [policy]);
    expect(ours).toEqual(story(kernel.directory));
  });
});

skipUnless(...needs)(
  "without a word no reading is noted, and none where nothing may be written",
  () => {
    using mounted = new Mounted(SIZE);
    const reads = (directory: string): string[] => {
      const path = join(directory, "f");
      const before = fs.statSync(path).atimeMs;
      pause();
      read(path);
      return fs.statSync(path).atimeMs === before ? ["the same"] : ["changed"];
    };
    mounted.with((directory) => {
      fs.writeFileSync(join(directory, "f"), "content");
      pause();
      expect(reads(directory)).toEqual(["the same"]);
    });
    expect(mounted.with(reads, "-o", "ro,strictatime")).toEqual(["the same"]);
  },
);
