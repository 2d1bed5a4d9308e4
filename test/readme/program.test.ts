// The README's program does what the README says, as a reader would run it.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { firstProgram } from "../../scripts/readme-program.js";
import { root } from "../../scripts/tree.js";
import { e2fsckClean, run, skipUnless, temporaryDirectory } from "../support/tools.ts";

skipUnless("e2fsck")(
  "the README's program runs, says nothing on standard error, and leaves a clean volume",
  () => {
    // Inside the checkout, so that "holdfast" is found by its own name.
    const place = join(root, ".cache", "readme-test");
    mkdirSync(place, { recursive: true });
    const program = join(place, "program.mjs");
    writeFileSync(program, firstProgram(readFileSync(join(root, "README.md"), "utf8")));
    using directory = temporaryDirectory();
    const launcher = `process.chdir(${JSON.stringify(directory.path)}); await import(${JSON.stringify(program)});`;
    const { code, stdout, stderr } = run(process.execPath, ["--input-type=module", "-e", launcher]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("size: 4096");
    expect(e2fsckClean(directory.file("disk.img"))).toMatchObject({ clean: true });
  },
);
