// Running node:fs's functions by name, in each of their forms, here and on a volume; what they answer, without what
// differs between any two filesystems.

import type * as nodeFs from "node:fs";

export type Form = "blocking" | "callback" | "promise";
export const forms: readonly Form[] = ["blocking", "callback", "promise"];

// biome-ignore lint/suspicious/noExplicitAny: functions are called by name, with right and wrong arguments
export type AnyFs = any;

/** A filesystem, and where in it a suite works: "/" of a volume, a directory of the host. */
export interface Target {
  readonly fs: AnyFs;
  readonly root: string;
}

/** Functions that have no promise form, or another one, and answer by one value. */
const callbackOnly: ReadonlySet<string> = new Set([
  "close",
  "exists",
  "fchmod",
  "fchown",
  "fdatasync",
  "fstat",
  "fsync",
  "ftruncate",
  "futimes",
  "open",
  "read",
  "readv",
  "write",
  "writev",
]);

export function hasForm(name: string, form: Form): boolean {
  return form !== "promise" || !callbackOnly.has(name);
}

/** Runs a function in one of its forms. Throws what it throws, whenever it does. */
export async function run(
  fs: AnyFs,
  form: Form,
  name: string,
  args: readonly unknown[],
): Promise<unknown> {
  if (form === "blocking") return fs[`${name}Sync`](...args);
  if (form === "promise") return fs.promises[name](...args);
  return new Promise((resolve, reject) => {
    if (name === "exists") {
      fs.exists(...args, resolve);
      return;
    }
    fs[name](...args, (error: unknown, ...results: unknown[]) => {
      if (error === null || error === undefined) resolve(results[0]);
      else reject(error);
    });
  });
}

/** An argument that is a path below the target's root. */
export class At {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }
}

export const at = (path: string): At => new At(path);

export function resolved(root: string, value: unknown): unknown {
  if (!(value instanceof At)) return value;
  return value.path === "" ? root : `${root === "/" ? "" : root}/${value.path}`;
}

/** Texts without the target's root. */
function relative(root: string, text: string): string {
  return root === "/" ? text : text.replaceAll(root, "") || "/";
}

/** What an error says that programs look at. */
export function errorFacts(error: unknown, root: string): unknown {
  const { code, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string };
  const facts: Record<string, unknown> = { code };
  // Of errors of the system; those of Node's own JavaScript differ from version to version.
  if (code?.startsWith("E") === true && !code.startsWith("ERR_")) {
    facts["syscall"] = syscall;
    if (path !== undefined) facts["path"] = relative(root, String(path));
    if (dest !== undefined) facts["dest"] = relative(root, String(dest));
  }
  return facts;
}

function isStats(value: object): value is nodeFs.Stats | nodeFs.BigIntStats {
  return "isFile" in value && "mode" in value;
}

/** An answer that can be compared: what two filesystems are free to choose is left out. */
export function answerFacts(value: unknown, root: string): unknown {
  if (typeof value === "string") return relative(root, value);
  if (ArrayBuffer.isView(value)) {
    return {
      bytes: relative(
        root,
        Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1"),
      ),
    };
  }
  if (Array.isArray(value)) {
    const items = value.map((each) => answerFacts(each, root));
    return items.map((each) => JSON.stringify(each)).sort();
  }
  if (typeof value !== "object" || value === null) return value;
  if (isStats(value)) {
    const kind = ["isFile", "isDirectory", "isSymbolicLink"].map((name) =>
      (value as unknown as Record<string, () => boolean>)[name]!(),
    );
    const size = value.isDirectory() ? null : String(value.size);
    const { mode, nlink, mtimeMs } = value;
    const links = value.isDirectory() ? null : String(nlink);
    return { kind, size, mode: String(mode), links, type: typeof mtimeMs };
  }
  if ("parentPath" in value) {
    const entry = value as nodeFs.Dirent;
    return {
      entry: answerFacts(entry.name, root),
      in: relative(root, entry.parentPath),
      file: entry.isFile(),
    };
  }
  if ("bavail" in value) return Object.keys(value).sort();
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, answerFacts(each, root)]),
  );
}

/** Runs a function and tells what came of it. */
export async function outcome(
  { fs, root }: Target,
  form: Form,
  name: string,
  args: readonly unknown[],
): Promise<unknown> {
  try {
    const given = args.map((each) => resolved(root, each));
    return { answer: answerFacts(await run(fs, form, name, given), root) };
  } catch (error) {
    return { error: errorFacts(error, root) };
  }
}
