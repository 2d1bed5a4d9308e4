import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";
import { UnfinishedTests } from "./test/support/unfinished.ts";

const root = dirname(fileURLToPath(import.meta.url));
const src = join(root, "src");
const dist = join(root, "dist");

/** Node loads these itself; vitest neither reads nor transforms them. */
const insideDist = new RegExp(`^${dist.replace(/[^\w/]/g, "\\$&")}/`);

const exportsOfPackage: Record<string, string | { default: string }> = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
).exports;

/** The built file behind `holdfast` or `holdfast/<subpath>`. */
function builtFileOfName(name: string): string {
  const subpath = `.${name.slice("holdfast".length)}`;
  const target = exportsOfPackage[subpath];
  if (target === undefined) throw new Error(`package.json exports no "${subpath}"`);
  return resolve(root, typeof target === "string" ? target : target.default);
}

/** The built file behind a source file, or null for a path outside src. */
function builtFileOfSource(path: string): string | null {
  if (!path.startsWith(`${src}/`) || !path.endsWith(".ts")) return null;
  return `${dist}${path.slice(src.length, -".ts".length)}.js`;
}

/**
 * Tests import sources and run the build. A test and the worker threads it starts then share one build,
 * and Node loads it as it loads the published package: no second copy of a module, no transform.
 */
function sourcesRunFromBuild(): Plugin {
  return {
    name: "sources-run-from-build",
    enforce: "pre",
    resolveId(name, importer) {
      const built = /^holdfast(\/|$)/.test(name)
        ? builtFileOfName(name)
        : builtFileOfSource(
            name.startsWith(".") && importer !== undefined
              ? resolve(dirname(importer), name)
              : name,
          );
      if (built === null) return null;
      if (!existsSync(built)) {
        throw new Error(`${name} is not built (${built} is missing): run \`npm run build\` first`);
      }
      return built;
    },
  };
}

export default defineConfig({
  plugins: [sourcesRunFromBuild()],
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/seeded.ts"],
    environment: "node",
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default", new UnfinishedTests()],
    server: { deps: { external: [insideDist] } },
  },
});
