// The checked build of a module: it does what the module does, and no access escapes its scheduling
// point.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parse } from "acorn";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Door } from "../../src/checker/engine/door.ts";
import {
  ACCESSES,
  COMPOSITES,
  Colouring,
  type ModuleSource,
  type Origin,
} from "../../src/checker/instrument/colouring.ts";
import { drain, isChecked, Linker, type Program } from "../../src/checker/instrument/linker.ts";
import { checkedModule, checkedPath } from "../../src/checker/instrument/places.ts";
import {
  isFunction,
  memberName,
  parseModule,
  type Tree,
  walk,
} from "../../src/checker/instrument/syntax.ts";
import { Numbers } from "../../src/checker/instrument/forms.ts";
import { transformModule } from "../../src/checker/instrument/transform.ts";
import { listScenarios } from "../../src/checker/registry.ts";
import { cases as shapes } from "./programs/shapes.mjs";

type Case = (words: Int32Array, log: unknown[]) => unknown;
type Cases = Readonly<Record<string, Case>>;

const WORDS = 8;

/** What can be seen of a case from outside. */
interface Seen {
  readonly result: unknown;
  readonly log: readonly unknown[];
  readonly words: readonly number[];
}

function see(words: Int32Array, run: (log: unknown[]) => unknown): Seen {
  const log: unknown[] = [];
  let result: unknown;
  try {
    result = run(log);
  } catch (error) {
    result = String(error);
  }
  return { result, log, words: Array.from(words) };
}

/** A module through the linker. */
class Linked {
  readonly door = new Door();
  exports: Program["exports"] = {};
  /** Scheduling points of the last run. */
  points = 0;

  static async load(module: URL): Promise<Linked> {
    const linked = new Linked();
    linked.exports = (await new Linker(linked.door).link(module)).exports;
    return linked;
  }

  #prepare(): void {
    this.door.makeBuffer(WORDS * 4);
    this.door.words.fill(0);
    this.points = 0;
  }

  /** To its end at once. */
  runAlone(run: Case): Seen {
    this.#prepare();
    this.door.alone = true;
    return see(this.door.words, (log) => drain(run(this.door.words, log)));
  }

  /** To its end at once, each call that can be plain a plain one. */
  runPlainly(run: Case): Seen {
    const { door } = this;
    door.alone = false;
    door.everyAccess = false;
    door.mayCallPlainly = true;
    for (;;) {
      this.#prepare();
      door.refused = false;
      const seen = see(door.words, (log) => drain(run(door.words, log)));
      if (door.refused) continue;
      door.mayCallPlainly = false;
      return seen;
    }
  }

  /** Interrupted before each access. */
  runPaused(run: Case, atPoint: (log: readonly unknown[]) => void = () => {}): Seen {
    this.#prepare();
    const { door } = this;
    door.alone = false;
    door.everyAccess = true;
    door.arrive = () => true;
    return see(door.words, (log) => {
      const running = run(door.words, log);
      if (!isChecked(running)) return running;
      let step = running.next();
      for (; !step.done; step = running.next()) {
        this.points++;
        atPoint(log);
      }
      return step.value;
    });
  }
}

const directory = mkdtempSync(join(tmpdir(), "holdfast-transform-"));
afterAll(() => rmSync(directory, { recursive: true }));
let texts = 0;

/** A module of this text; `accesses` are imported. */
async function linkText(text: string): Promise<Linked> {
  const path = join(directory, `text-${texts++}.mjs`);
  const atomics = relative(directory, fileURLToPath(checkedModule("sync/atomics.js")));
  const names = [...Object.keys(ACCESSES), ...COMPOSITES].join(", ");
  writeFileSync(path, `import { ${names} } from "${atomics}";\n${text}`);
  return Linked.load(pathToFileURL(path));
}

describe("a module through the linker does what it does as it is", () => {
  let linked: Linked;
  beforeAll(async () => {
    linked = await Linked.load(new URL("./programs/shapes.mjs", import.meta.url));
  });

  for (const [name, run] of Object.entries(shapes)) {
    it(name, () => {
      const words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
      const expected = see(words, (log) => run(words, log));
      const checked = (linked.exports["cases"] as Cases)[name]!;
      expect(linked.runAlone(checked)).toEqual(expected);
      expect(linked.runPlainly(checked)).toEqual(expected);
      expect(linked.runPaused(checked)).toEqual(expected);
      expect(linked.points).toBeGreaterThan(0);
    });
  }
});

describe("using", () => {
  const EXPECTED: Readonly<Record<string, readonly [log: readonly unknown[], result?: unknown]>> = {
    normally: [
      ["open a", "open b after a", "in b after a", "close b after a 0", "close a 1", "after"],
    ],
    "two of one statement": [["open a", "open b", "in a b", "close b 0", "close a 1"]],
    "by return": [["open a", "open b", "close b 10", "close a 11"], 0],
    "by throw": [["open a", "close a 5", "thrown"]],
    "before the second is there": [["open a", "close a 0", "no b"]],
    "by break and continue": [
      [
        ...["open 0", "close 0 0", "open 1", "rest of 1", "close 1 1", "open 2", "close 2 2"],
        ...["open x", "open 1", "close 1 3", "close x 4"],
        ...["open y", "open 1", "close 1 5", "open 2", "close 2 6", "close y 7"],
      ],
    ],
    "what is null": [["open a", "close a 0"]],
    "in callbacks": [
      ["open 1", "close 1 10", "open 2", "close 2 21"],
      [0, 11],
    ],
  };
  let linked: Linked;
  beforeAll(async () => {
    linked = await Linked.load(new URL("./programs/usings.mjs", import.meta.url));
  });

  for (const [name, [log, result]] of Object.entries(EXPECTED)) {
    it(`gives back: ${name}`, () => {
      const run = (linked.exports["cases"] as Cases)[name]!;
      expect(linked.runAlone(run)).toMatchObject({ log, result });
      expect(linked.runPaused(run)).toMatchObject({ log, result });
    });
  }

  it("every case is told of here", () => {
    expect(Object.keys(linked.exports["cases"] as Cases)).toEqual(Object.keys(EXPECTED));
  });
});

describe("a scheduling point", () => {
  it("comes after the arguments and right before the access", async () => {
    const linked = await linkText(`
      export function run(words, log) {
        const tell = (what, value) => (log.push(what), value);
        store(words, tell("word", 2), tell("value", 9));
        log.push("stored");
      }`);
    const seen: unknown[] = [];
    const run = linked.exports["run"] as Case;
    linked.runPaused(run, (log) => seen.push([...log], linked.door.words[2]));
    expect(seen).toEqual([["word", "value"], 0]);
    expect(linked.door.words[2]).toBe(9);
  });

  it("stands before each access, before both of a composite, and nowhere else", async () => {
    const linked = await linkText(`
      const twice = (value) => value * 2;
      export function run(words, log) {
        const a = load(words, 0) + twice(load(words, 1));
        if (cas(words, 0, 7, a)) store(words, 1, 1);
        addThenStore(words, 2, 1, 3, twice(4));
        casThenStore(words, 2, 9, 1, 3, 5);
        [1, 2].forEach((word) => log.push(exchange(words, word, 1)));
        wakeAll(words, 0);
      }`);
    linked.runPaused(linked.exports["run"] as Case);
    expect(linked.points).toBe(2 + 1 + 2 + 1 + 2 + 1);
  });

  it("lets others change the word, and the access sees it", async () => {
    const linked = await linkText(`
      export function run(words) {
        const seen = load(words, 0);
        return [seen, load(words, 0), add(words, 0, 1)];
      }`);
    const run = linked.exports["run"] as Case;
    let value = 0;
    const { result } = linked.runPaused(run, () => {
      value += 10;
      linked.door.write(0, value);
    });
    expect(result).toEqual([10, 20, 30]);
  });

  it("is not met in constructors and fields, which run alone", async () => {
    const linked = await linkText(`
      const bump = (words) => add(words, 0, 1) + 1;
      class Base { constructor(words) { this.words = words; } }
      class Made extends Base {
        field = load(this.words, 0);
        constructor(words) {
          super(words);
          this.mine = [1, 2].map(() => bump(words));
        }
      }
      export function run(words) {
        const { field, mine } = new Made(words);
        return [field, mine];
      }`);
    expect(linked.runPaused(linked.exports["run"] as Case).result).toEqual([0, [1, 2]]);
    expect(linked.points).toBe(0);
  });
});

describe("what cannot be instrumented is refused", () => {
  const REFUSED: Readonly<Record<string, string>> = {
    "sort()": "return [2, 1].sort((a, b) => load(words, a) - load(words, b));",
    "reduce()": "return [2, 1].reduce((sum, a) => sum + load(words, a), 0);",
    "from()": "return Array.from([1, 2], (a) => add(words, a, 1));",
  };
  for (const [name, body] of Object.entries(REFUSED)) {
    it(`a callback of ${name}`, async () => {
      const linking = linkText(`export function run(words) {\n${body}\n}`);
      await expect(linking).rejects.toThrow(
        new RegExp(
          `text-\\d+\\.mjs:3: the checked build has no way for a callback with shared accesses, passed to ${name.replace("()", "\\(\\)")}`,
        ),
      );
    });
  }

  it("a cycle of imports", async () => {
    const names = ["ring-a.mjs", "ring-b.mjs"];
    for (const [index, name] of names.entries()) {
      const other = names[1 - index]!;
      writeFileSync(
        join(directory, name),
        `import { b as other } from "./${other}";\nexport const b = () => other;`,
      );
    }
    const linking = Linked.load(pathToFileURL(join(directory, names[0]!)));
    await expect(linking).rejects.toThrow(
      /cycle of imports: .*ring-a\.mjs imports .*ring-b\.mjs imports .*ring-a\.mjs/,
    );
  });

  // Neither may they be left out in silence: what is passed by its name is a callback all the same.
  const RIGHT_OR_REFUSED: Readonly<Record<string, string>> = {
    "a named callback of an array": `
      const bump = (word) => { add(words, word, 1); };
      [1, 2].forEach(bump);
      return load(words, 1) + load(words, 2);`,
    "a named callback of sort": `
      const order = (a, b) => add(words, 1, 1) - a + b;
      [1, 2].sort(order);
      return 2 * (load(words, 1) > 0);`,
    call: `
      const bump = (word) => add(words, word, 1) + 2;
      return bump.call(null, 1);`,
    apply: `
      const bump = (word) => add(words, word, 1) + 2;
      return bump.apply(null, [1]);`,
    "a setter": `
      const object = { set value(to) { store(words, 1, to); } };
      object.value = 2;
      return load(words, 1);`,
    "an access in a default parameter": `
      const f = (at = load(words, 0) + 2) => at;
      return f();`,
    "what follows an optional call": `
      const find = (any) => (any ? { get: () => ({ value: add(words, 0, 1) }) } : undefined);
      return find(false)?.get().value ?? 2;`,
    "what follows an optional getter": `
      const object = { get value() { return { at: load(words, 0) }; } };
      const find = (any) => (any ? object : undefined);
      return find(false)?.value.at ?? 2;`,
    "a getter read by destructuring": `
      const object = { get value() { return load(words, 0) + 2; } };
      const { value } = object;
      return value;`,
    "a plain member named as a getter": `
      const getter = { get value() { return load(words, 0) + 1; } };
      const plain = { value: 1 };
      return getter.value + plain.value;`,
    "a field named as a getter": `
      class Getter { get value() { return load(words, 0) + 1; } }
      class Plain { value = 1; }
      return new Getter().value + new Plain().value;`,
    "a getter without shared accesses named as one with": `
      class Getter { get value() { return load(words, 0) + 1; } }
      class Plain { get value() { return 1; } }
      return new Getter().value + new Plain().value;`,
  };
  for (const [name, body] of Object.entries(RIGHT_OR_REFUSED)) {
    it(`or done right: ${name}`, async () => {
      let linked: Linked;
      try {
        linked = await linkText(`export function run(words) {\n${body}\n}`);
      } catch (error) {
        expect(String(error)).toMatch(/the checked build has no way for/);
        return;
      }
      expect(linked.runAlone(linked.exports["run"] as Case).result).toBe(2);
    });
  }
});

/** Checked modules that are not instrumented: the door itself, and what threads share nothing by. */
const OUTSIDE =
  /^base\/|^device\/(?!state|failure-events)|^checker\/scenario\.js$|^sync\/(atomics|runners)\.js$/;
const checkedRoot = fileURLToPath(checkedModule(""));

/** All checked modules, by their paths, in the order of their imports. */
function checkedModules(): Map<string, ModuleSource> {
  const modules = new Map<string, ModuleSource>();
  const paths = readdirSync(checkedRoot, { recursive: true, encoding: "utf8" });
  const add = (path: string): void => {
    if (modules.has(path)) return;
    const url = checkedModule(path).href;
    const text = readFileSync(join(checkedRoot, path), "utf8");
    const program = parseModule(text);
    const imports = new Map<string, Origin>();
    const passedOn = new Map<string, Origin>();
    for (const node of program.body as readonly Tree[]) {
      if (!node.source) continue;
      const specifier = String(node.source.value);
      const target = specifier.startsWith(".") ? new URL(specifier, url).href : specifier;
      const below = checkedPath(target);
      if (below !== null) add(below);
      const originOf = (name: string): Origin =>
        modules.get(below ?? "")?.passedOn.get(name) ?? { path: target, name };
      for (const { imported, exported, local } of node.specifiers ?? []) {
        if (imported) imports.set(local!.name!, originOf(imported.name!));
        else if (exported) passedOn.set(exported!.name!, originOf(local!.name!));
      }
    }
    modules.set(path, { path: url, text, program, imports, passedOn });
  };
  for (const path of paths) if (path.endsWith(".js")) add(path);
  return modules;
}

describe("no access escapes", () => {
  const modules = checkedModules();
  const instrumented = [...modules].filter(([path]) => !OUTSIDE.test(path));
  const colouring = new Colouring(instrumented.map(([, module]) => module));
  const numbers = new Numbers();
  const { sites } = numbers;
  const transformed = instrumented.map(([path, module]) => {
    const text = transformModule(module, colouring, numbers);
    const program = parse(text, {
      ecmaVersion: "latest",
      allowReturnOutsideFunction: true,
    }) as unknown as Tree;
    return { path, module, text, program };
  });

  it("every module with accesses that a scenario links is looked at here", async () => {
    const known = new Set(instrumented.map(([, { path }]) => path));
    expect(known.size).toBeGreaterThan(25);
    for (const module of new Set(listScenarios().map((place) => place.module.href))) {
      const program = await new Linker(new Door()).link(new URL(module));
      for (const { path } of program.sites) expect(known).toContain(path);
    }
    for (const [path, { imports }] of modules) {
      const accesses = [...imports.values()].some(
        (origin) => checkedPath(origin.path) === "sync/atomics.js" && kindOf(origin.name) !== null,
      );
      // Scenarios have devices of their own, which take no storage away: released.js is linked and never run.
      const isExcused = path === "sync/runners.js" || path === "device/released.js";
      if (accesses) expect(OUTSIDE.test(path) && !isExcused, path).toBe(false);
    }
  });

  function kindOf(name: string): "access" | "composite" | null {
    if (name in ACCESSES) return "access";
    return COMPOSITES.has(name) ? "composite" : null;
  }

  /** Whether a node runs before threads share anything: see transform.ts. */
  function runsAlone(parents: readonly Tree[]): boolean {
    const at = parents.findLastIndex(isFunction);
    const within = parents[at];
    const field = parents.findLastIndex(({ type }) => type === "PropertyDefinition");
    if (within === undefined || field > at) return true;
    return within.async === true || parents[at - 1]?.kind === "constructor";
  }

  function generatorAround(parents: readonly Tree[]): boolean {
    return parents.findLast(isFunction)?.generator === true;
  }

  it("each access stands right behind its point, in a generator or its twin, or runs alone", () => {
    const used = new Map<number, string>();
    const twins = new Map<number, string>();
    let alone = 0;
    for (const { path, module, text, program } of transformed) {
      const textOf = (node: Tree): string => text.slice(node.start, node.end);
      walk(program, (node, parents) => {
        const origin = node.type === "CallExpression" && module.imports.get(node.callee!.name!);
        if (!origin) return undefined;
        if (!origin.path.endsWith("sync/atomics.js")) return undefined;
        const operation = origin.name;
        const kind = kindOf(operation);
        if (kind === null) return undefined;
        const where = `${path}: ${textOf(node)}`;
        const args = node.arguments!;
        const parent = parents[parents.length - 1]! as Tree & { expressions?: readonly Tree[] };
        if (runsAlone(parents)) {
          alone++;
          return undefined;
        }
        const inTwin = !generatorAround(parents);
        let site: Tree;
        if (kind === "composite") {
          if (inTwin) {
            expect(node.callee!.name, where).toBe(`${operation}$p`);
          } else {
            expect(parent, where).toMatchObject({ type: "YieldExpression", delegate: true });
          }
          site = args[args.length - 1]!;
        } else {
          expect(parent.type, where).toBe("SequenceExpression");
          const expressions = parent.expressions!;
          expect(expressions[expressions.length - 1], where).toBe(node);
          const before = expressions[expressions.length - 2]! as Tree & { right?: Tree };
          if (inTwin) expect(before, where).toMatchObject({ callee: { name: "$pass" } });
          else {
            expect(before, where).toMatchObject({
              operator: "&&",
              left: { callee: { name: "$point" } },
              right: { type: "YieldExpression", argument: null, delegate: false },
            });
          }
          const [number, word, access] = (inTwin ? before : before.left!).arguments!;
          expect(textOf(word!), where).toBe(textOf(args[1]!));
          expect(access!.value, where).toBe(ACCESSES[operation]);
          site = number!;
        }
        const number = Number(site.value);
        expect(sites[number], where).toMatchObject({ path: module.path, operation });
        const seen = inTwin ? twins : used;
        // A function within another is in both of the other's forms.
        expect(seen.get(number) ?? where).toBe(where);
        seen.set(number, where);
        return undefined;
      });
    }
    expect(used.size).toBe(sites.length);
    expect(used.size).toBeGreaterThan(300);
    expect(twins.size).toBeGreaterThan(200);
    expect([...twins.keys()].filter((site) => !used.has(site))).toEqual([]);
    expect(alone).toBeGreaterThan(0);
  });

  /** What may become of what a call returns when it may be a function under way. */
  function isConsumed(parents: readonly Tree[]): boolean {
    let parent = parents[parents.length - 1]!;
    if (parent.type === "ChainExpression") parent = parents[parents.length - 2]!;
    if (parent.type === "YieldExpression") return parent.delegate === true;
    if (parent.type === "CallExpression") {
      return ["$drain", "$plain"].includes(parent.callee!.name!);
    }
    // ($0 = call) instanceof $Gen ? yield* $0 : $0
    return parent.type === "AssignmentExpression" && /^\$\d+$/.test(parent.left!.name ?? "");
  }

  it("only what runs alone is run to its end at once", () => {
    for (const { path, text, program } of transformed) {
      walk(program, (node, parents) => {
        if (node.type !== "CallExpression" || node.callee!.name !== "$drain") return undefined;
        expect(runsAlone(parents), `${path}: ${text.slice(node.start, node.end)}`).toBe(true);
        return undefined;
      });
    }
  });

  it("what a generator returns is never taken for its value", () => {
    const declared = new Set<string>();
    const methods = new Set<string>();
    for (const { module, program } of transformed) {
      for (const node of program.body as readonly Tree[]) {
        for (const each of node.declarations ?? [node]) {
          let made = each.init ?? each;
          if (made.callee?.name === "$twin") made = made.arguments![0]!;
          if (made.generator) declared.add(`${module.path}\n${each.id!.name!}`);
        }
      }
      walk(program, (node) => {
        const value = node.value as Tree | null | undefined;
        if (value && typeof value === "object" && value.generator && memberName(node) !== null) {
          methods.add(memberName(node)!);
        }
        return undefined;
      });
    }
    expect(declared.size).toBeGreaterThan(80);
    expect(methods.size).toBeGreaterThan(40);
    for (const { path, module, text, program } of transformed) {
      const isGenerator = (name: string): boolean => {
        const { path: from, name: there } = module.imports.get(name) ?? { path: module.path, name };
        return declared.has(`${from}\n${there}`);
      };
      walk(program, (node, parents) => {
        if (node.type !== "CallExpression") return undefined;
        const callee = node.callee!;
        const textOf = (each: Tree): string => text.slice(each.start, each.end);
        const where = `${path}: ${textOf(node)}`;
        const member = callee.type === "MemberExpression" ? memberName(callee) : null;
        const told = callee.type === "Identifier" && isGenerator(callee.name!);
        // An array's own, with the plain twin of its callback.
        const [first] = node.arguments!;
        const isPlain = first !== undefined && /^\S+\.\$p \?\? /.test(textOf(first));
        if (told || (member !== null && methods.has(member) && !isPlain)) {
          expect(isConsumed(parents), where).toBe(true);
        }
        // An array calls its callback itself, and takes what it returns.
        const byName = node.arguments!.filter(({ type, name }) => {
          return type === "Identifier" && isGenerator(name!);
        });
        // What a function put outside captures (closures.ts) it is only given.
        const isOutside = /^\$outside\d+$/.test(callee.object?.name ?? "");
        if (member !== null && !methods.has(member) && !isOutside)
          expect(byName, where).toEqual([]);
        return undefined;
      });
    }
  });

  it("nobody but the door names Atomics or indexes shared memory", () => {
    const VIEWS = /^(Big)?(Int|Uint)(8|16|32|64)(Clamped)?Array$/;
    for (const [path, { program, text }] of modules) {
      // What a scenario looks at, it looks at aside.
      if (path === "sync/atomics.js" || path.startsWith("checker/")) continue;
      const found: string[] = [];
      walk(program, (node, parents) => {
        const line = `${path}: ${text.slice(node.start, node.end)}`;
        if (node.type === "Identifier" && node.name === "Atomics") found.push(line);
        if (node.type === "MemberExpression") {
          const { object, computed } = node;
          const name = object!.type === "Identifier" ? object!.name! : memberNameOf(object!);
          const parent = parents[parents.length - 1]!;
          const called = parent.type === "CallExpression" && parent.callee === node;
          const isWords = name === "words" || name === "#words";
          if (isWords && (computed || called)) found.push(line);
        }
        if (node.type === "NewExpression" && VIEWS.test(node.callee!.name ?? "")) {
          const [first] = node.arguments!;
          const views = first !== undefined && memberNameOf(first) === "buffer";
          if (views && path !== "sync/region.js") found.push(line);
        }
        // Under another name the memory would not be found above.
        if (
          node.type === "VariableDeclarator" &&
          node.init &&
          memberNameOf(node.init) === "words"
        ) {
          if (node.id!.name !== "words") found.push(line);
        }
        return undefined;
      });
      expect(found, path).toEqual([]);
    }
  });

  function memberNameOf(node: Tree): string | null {
    return node.type === "MemberExpression" ? memberName(node) : null;
  }
});
