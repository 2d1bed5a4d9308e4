// The package as npm packs it, in an empty project elsewhere: the README's program, and worker threads.

import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { firstProgram } from "../../scripts/readme-program.js";
import { root } from "../../scripts/tree.js";
import { run, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const sharing = `
  import { Worker, isMainThread, workerData } from "node:worker_threads";
  import { attach, mount } from "holdfast";
  if (isMainThread) {
    const volume = await mount("disk.img");
    const file = volume.openSync("/shared", "w+");
    file.truncateSync(8192);
    const window = file.map({ writable: true });
    window.bytes[5] = 42;
    const worker = new Worker(new URL(import.meta.url), { workerData: volume.share() });
    worker.on("exit", async (code) => {
      console.log(code, window.bytes[4097]);
      window.close();
      file.closeSync();
      await volume.close();
    });
  } else {
    const volume = attach(workerData);
    const file = volume.openSync("/shared", "r+");
    const window = file.map({ writable: true });
    window.bytes[4097] = window.bytes[5] + 1;
    window.close();
    file.closeSync();
    volume.closeSync();
  }
`;

/** An empty project with the packed package in it, and beside it the packages that it depends on. */
function installPacked(project: string): void {
  runOk("npm", ["pack", root, "--ignore-scripts", "--pack-destination", project]);
  const archive = readdirSync(project).find((name) => name.endsWith(".tgz"));
  expect(archive).toBeDefined();
  runOk("tar", ["-xzf", join(project, archive!), "-C", project]);
  const modules = join(project, "node_modules");
  mkdirSync(modules);
  renameSync(join(project, "package"), join(modules, "holdfast"));
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (!name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  writeFileSync(join(project, "package.json"), '{ "private": true }');
}

skipUnless("mkfs.ext4", "tar")(
  "the packed package runs the README's program in an empty project, workers included",
  () => {
    using project = temporaryDirectory();
    installPacked(project.path);
    const program = firstProgram(readFileSync(join(root, "README.md"), "utf8"));
    for (const [name, text] of Object.entries({ program, sharing })) {
      const file = project.file(`${name}.mjs`);
      writeFileSync(file, text);
      const command = `cd "${project.path}" && exec "${process.execPath}" "${file}"`;
      const { code, stdout, stderr } = run("sh", ["-c", command]);
      expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: "" });
      expect(stdout.trim()).toContain(name === "program" ? "size: 4096" : "0 43");
    }
  },
);
