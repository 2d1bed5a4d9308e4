/** `holdfast check`: the checker on the command line. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CheckReport } from "../../checker/check.ts";
import { type Job, jobOf, type PoolEvents, runJobs } from "../../checker/pool.ts";
import { type ListedScenario, listScenarios, listVariants } from "../../checker/registry.ts";
import { storyAsPage } from "../../checker/report/page.ts";
import type { FailureKind, Story } from "../../checker/report/story.ts";
import { storyAsText } from "../../checker/report/text.ts";
import type { Variant } from "../../checker/variant.ts";
import { formatCount, formatMs, type Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_FOUND, EXIT_OK, nearest, UsageError } from "../usage.ts";
import { untilInterrupted } from "../interrupt.ts";
import { mutate } from "./mutate.ts";
import { CHECK_SPEC, type CheckCommandOptions, parseCheckOptions } from "./options.ts";

/** A job with what it is expected to end in. */
interface Planned {
  readonly job: Job;
  readonly label: string;
  readonly variant: Variant | null;
  /** null: nothing fails. */
  readonly expected: FailureKind | null;
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseCheckOptions(args);
  const scenarios = listScenarios();
  const variants = listVariants();
  if (options.list) {
    printLists(scenarios, variants, terminal);
    return EXIT_OK;
  }
  if (options.mutate !== undefined) return await mutate(options, terminal);
  const chosen = choose("scenario", options.scenarios, scenarios, ({ scenario }) => scenario.name);
  const planned = plan(options, chosen, variants);
  return await new Session(planned, options, terminal).run();
}

/** Those named, or all. Throws: UsageError for a name that nothing has. */
function choose<T>(
  what: string,
  names: readonly string[],
  all: readonly T[],
  nameOf: (each: T) => string,
): readonly T[] {
  if (names.length === 0) return all;
  return names.map((name) => {
    const found = all.find((each) => nameOf(each) === name);
    if (found !== undefined) return found;
    const near = nearest(name, all.map(nameOf));
    const hint = near === null ? "; holdfast check --list names them" : `; did you mean '${near}'?`;
    throw new UsageError(`there is no ${what} '${name}'${hint}`);
  });
}

function plan(
  options: CheckCommandOptions,
  scenarios: readonly ListedScenario[],
  variants: readonly Variant[],
): Planned[] {
  const { exploration, schedules, seconds, seed, replay, shrink } = options;
  const settings = { exploration, schedules, seconds, seed, replay, shrink };
  if (options.variants.length === 0) {
    return scenarios.map((place) => ({
      job: jobOf(place, null, settings),
      label: place.scenario.name,
      variant: null,
      expected: null,
    }));
  }
  const named = options.variants.filter((name) => name !== "all");
  const chosen = choose("variant", named, variants, ({ name }) => name);
  return chosen.flatMap((variant) =>
    scenarios
      .filter(({ scenario }) => isFor(variant, scenario.name, options.scenarios))
      .map((place) => ({
        job: jobOf(place, plain(variant), settings),
        label: `${variant.name} in ${place.scenario.name}`,
        variant,
        expected: variant.caughtBy[place.scenario.name] ?? null,
      })),
  );
}

/** Scenarios that were named are run; else those that catch the variant, or that it holds in. */
function isFor(variant: Variant, scenario: string, named: readonly string[]): boolean {
  if (named.length > 0) return true;
  return scenario in variant.caughtBy || (variant.holdsIn ?? []).includes(scenario);
}

/** What a worker needs of a variant. */
function plain({ name, about, edits }: Variant): Pick<Variant, "name" | "about" | "edits"> {
  return { name, about, edits };
}

function printLists(
  scenarios: readonly ListedScenario[],
  variants: readonly Variant[],
  terminal: Terminal,
): void {
  terminal.print(terminal.style("bold", "Scenarios"));
  for (const { scenario } of scenarios) {
    terminal.print(`  ${scenario.name}`);
    terminal.print(terminal.style("dim", `      ${scenario.from}`));
  }
  terminal.print();
  terminal.print(terminal.style("bold", "Variants"));
  for (const variant of variants) {
    const caught = Object.entries(variant.caughtBy).map(([name, kind]) => `${kind} in ${name}`);
    terminal.print(`  ${variant.name}`);
    terminal.print(`      ${variant.about}`);
    const ending = caught.length > 0 ? caught.join(", ") : "holds";
    terminal.print(terminal.style("dim", `      ${ending}; ${variant.from}`));
  }
}

/** One run of the command: what is planned, what is under way, what has ended. */
class Session {
  readonly #planned: readonly Planned[];
  readonly #options: CheckCommandOptions;
  readonly #terminal: Terminal;
  readonly #width: number;
  /** Jobs under way, with how far they are. */
  readonly #running = new Map<number, string>();
  #ended = 0;
  #unexpected = 0;

  constructor(planned: readonly Planned[], options: CheckCommandOptions, terminal: Terminal) {
    this.#planned = planned;
    this.#options = options;
    this.#terminal = terminal;
    this.#width = Math.max(12, ...planned.map(({ label }) => label.length));
  }

  async run(): Promise<number> {
    const start = performance.now();
    const jobs = this.#planned.map(({ job }) => job);
    const events: PoolEvents = {
      onProgress: (job, figures) => {
        const part = figures?.progress ?? null;
        this.#running.set(job, part === null ? "" : ` ${Math.floor(part * 100)} %`);
        this.#showLive();
      },
      onReport: (job, report) => this.#report(job, report),
      onError: (job, message) => {
        this.#running.delete(job);
        this.#ended++;
        this.#unexpected++;
        this.#terminal.note(`holdfast: ${this.#planned[job]!.label}: ${message}`);
      },
    };
    let interrupted = false;
    try {
      interrupted = await untilInterrupted((signal) =>
        runJobs(jobs, this.#options.threads, events, signal),
      );
    } finally {
      this.#terminal.endLive();
    }
    if (!this.#options.json) this.#printEnd(performance.now() - start, interrupted);
    return this.#unexpected === 0 ? EXIT_OK : EXIT_FOUND;
  }

  #showLive(): void {
    const running = [...this.#running].map(
      ([job, progress]) => `${this.#planned[job]!.label}${progress}`,
    );
    this.#terminal.live(`${this.#ended} of ${this.#planned.length}: ${running.join(", ")}`);
  }

  #report(job: number, report: CheckReport): void {
    this.#running.delete(job);
    this.#ended++;
    const { label, expected, variant } = this.#planned[job]!;
    const failure = report.story?.failure ?? null;
    // A variant that holds is expected to pass; whether it was explored to the end is another matter.
    const asExpected = (failure?.kind ?? null) === expected;
    if (!asExpected) this.#unexpected++;
    const { story } = report;
    if (story !== null) this.#keep(story);
    if (this.#options.json) {
      this.#terminal.print(JSON.stringify({ ...report, expected, asExpected }));
      return;
    }
    this.#terminal.print(this.#line(label, report, asExpected));
    const wanted = !asExpected || this.#options.replay !== undefined || this.#isNamed(variant);
    if (story !== null && wanted) this.#tell(story);
  }

  /** Writes the story to the files that were asked for. */
  #keep(story: Story): void {
    const { html, stories } = this.#options;
    if (html !== undefined) writeFileSync(html, storyAsPage(story));
    if (stories === undefined) return;
    mkdirSync(stories, { recursive: true });
    const name = [story.variant, story.scenario].filter((part) => part !== null).join(".");
    writeFileSync(join(stories, `${name}.txt`), `${storyAsText(story, { width: 100 })}\n`);
  }

  /** A variant that was asked for by name is asked for its story. */
  #isNamed(variant: Variant | null): boolean {
    return variant !== null && this.#options.variants.includes(variant.name);
  }

  #tell(story: Story): void {
    const style = (name: "bold" | "dim" | "red" | "green" | "yellow", text: string): string =>
      this.#terminal.style(name, text);
    this.#terminal.print();
    this.#terminal.print(storyAsText(story, { style, raw: this.#options.raw }));
    this.#terminal.print();
  }

  #line(label: string, report: CheckReport, asExpected: boolean): string {
    const failure = report.story?.failure ?? null;
    const mark = this.#terminal.style(asExpected ? "green" : "red", asExpected ? "ok  " : "FAIL");
    const schedules = formatCount(report.schedules).padStart(11);
    const turns = formatCount(report.turns).padStart(13);
    const time = formatMs(report.seconds * 1000).padStart(8);
    const bounds = report.ended ? report.exploration : `${report.exploration}, not ended`;
    const end = failure === null ? bounds : failure.kind;
    return `${mark} ${label.padEnd(this.#width)} ${schedules} schedules ${turns} turns ${time}  ${end}`;
  }

  #printEnd(milliseconds: number, interrupted: boolean): void {
    const rest = this.#planned.length - this.#ended;
    const left = rest > 0 ? `, ${rest} not run` : "";
    const early = interrupted ? " (ended early)" : "";
    const wrong =
      this.#unexpected === 0 ? "all as expected" : `${this.#unexpected} not as expected`;
    this.#terminal.print(
      `${this.#ended} checked in ${formatMs(milliseconds)}${early}: ${wrong}${left}`,
    );
  }
}

export const check: CommandBody = { spec: CHECK_SPEC, run };
