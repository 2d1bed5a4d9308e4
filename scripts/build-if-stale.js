// Builds when dist is missing or older than its sources. Used by `npm start`, whose standard output
// belongs to the program, so everything the build says goes to standard error.

import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { builtFileOf, root, sourceFiles } from "./tree.js";

function isStale() {
  const configurationMs = Math.max(
    ...["tsconfig.json", "tsconfig.build.json", "tsconfig.checked.json"].map(
      (name) => statSync(`${root}/${name}`).mtimeMs,
    ),
  );
  return sourceFiles().some((source) => {
    const built = statSync(builtFileOf(source), { throwIfNoEntry: false });
    const sourceMs = statSync(source).mtimeMs;
    return built === undefined || built.mtimeMs < Math.max(sourceMs, configurationMs);
  });
}

/** @param {string[]} args */
function runNode(...args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

if (isStale()) {
  const compiler = `${root}/node_modules/typescript/bin/tsc`;
  if (!existsSync(compiler)) {
    console.error("holdfast is not built and the compiler is not installed: run `npm ci` first");
    process.exit(1);
  }
  console.error("building holdfast");
  runNode(compiler, "-p", "tsconfig.build.json", "--noEmitOnError");
  runNode(compiler, "-p", "tsconfig.checked.json", "--noEmitOnError");
  runNode("scripts/prune-dist.js");
  runNode("scripts/pack-library.js");
}
