// Puts the built modules of the library into one file, dist/packed/library.js, and has each built module pass its exports
// on from there: to load some three hundred files takes a thread, and each command, three times as long. It stays one
// library, by whatever path it is imported. Not packed: the modules that threads and the program begin with, and the
// checker, which loads the core's sources by themselves.

import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { rolldown } from "rolldown";
import { dist, filesUnder } from "./tree.js";

const APART = /^(checked|checker|cli|packed)\/|(^|[-/])worker\.js$/;

const entries = filesUnder(dist)
  .filter((path) => path.endsWith(".js") && !APART.test(relative(dist, path)))
  .map((path) => [relative(dist, path).replace(/\.js$/, ""), path]);

const library = await rolldown({
  input: Object.fromEntries(entries),
  platform: "node",
  external: /^[^./]/,
  treeshake: false,
  plugins: [
    {
      name: "sources",
      // The compiler's map, so that a stack names the source.
      load: (path) => ({
        code: readFileSync(path, "utf8"),
        map: existsSync(`${path}.map`) ? readFileSync(`${path}.map`, "utf8") : null,
      }),
    },
  ],
});
await library.write({
  dir: dist,
  keepNames: true,
  sourcemap: true,
  entryFileNames: "[name].js",
  chunkFileNames: "packed/[name].js",
  codeSplitting: { groups: [{ name: "library", test: /./ }] },
});
