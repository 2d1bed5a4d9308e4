/** The mutants of the core, and how they are tried. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { Kills } from "../../dist/checker/mutation/kills.js";
import { type Mutant, mutantsOf, mutatedFiles } from "../../dist/checker/mutation/mutants.js";
import { MutationRun, mutationScenarios } from "../../dist/checker/mutation/run.js";
import { explanationOf, staleExplanations } from "../../dist/checker/mutation/survivors/index.js";
import { parseModule } from "../../src/checker/instrument/syntax.ts";

const QUIET = {
  schedules: 500,
  seconds: 60,
  threads: 1,
  signal: new AbortController().signal,
  onProgress: () => {},
};

describe("mutants", () => {
  const { all, schemas } = mutantsOf(mutatedFiles());

  it("are numbered from 1, and no two of a function are told alike", () => {
    expect(all.map(({ number }) => number)).toEqual(all.map((_, index) => index + 1));
    const told = all.map(({ file, function: name, what }) => `${file} ${name} ${what}`);
    expect(told.filter((each, index) => told.indexOf(each) < index)).toEqual([]);
  });

  it("stand in texts that are modules", () => {
    for (const text of schemas.values()) expect(() => parseModule(text)).not.toThrow();
  });

  it("cover statements, conditions and exchanges", () => {
    const guard = all.filter(({ file }) => file === "sync/guard.ts");
    const kinds = new Set(guard.map(({ what }) => what.split(":")[0]!.split(" ")[0]));
    expect([...kinds].sort()).toEqual(
      expect.arrayContaining(["always", "left", "never", "whatever", "without"]),
    );
  });

  it("are each killed by a scenario that docs/mutants.json names, or explained", () => {
    const kills = Kills.read(fileURLToPath(new URL("../../docs/mutants.json", import.meta.url)));
    const scenarios = mutationScenarios();
    expect(kills.scenarios.filter((name) => !scenarios.includes(name))).toEqual([]);
    const open = kills
      .open(all)
      .map(({ file, function: name, what }) => `${file}: ${name}: ${what}`);
    expect(open).toEqual([]);
  });

  it("that are explained exist", () => {
    expect(staleExplanations(all)).toEqual([]);
  });
});

describe("the mutation run", () => {
  it("kills what a scenario sees, and tells what comes to nothing", async () => {
    const run = new MutationRun(["sync/guard.ts"], QUIET, ["guard", "guard-holder-dies"]);
    await run.run(null);
    const { verdicts } = run;
    const killed = verdicts.filter(({ killedBy }) => killedBy !== null);
    const take = killed.find(({ mutant }) => mutant.what.startsWith("whatever is there: cas("));
    expect(take?.killedBy).toBe("guard");
    const asleep = verdicts.filter(({ mutant }) => mutant.function === "synchronize");
    expect(asleep.length).toBeGreaterThan(0);
    expect(asleep.every(({ reachedBy, killedBy }) => reachedBy === 0 && killedBy === null)).toBe(
      true,
    );
  }, 60_000);

  it("tries what killed a mutant before, and only that; believed, not even that", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "kills-"));
    try {
      const path = join(scratch, "kills.json");
      const short = { ...QUIET, schedules: 20 };
      const one = new MutationRun(["sync/guard.ts"], short, ["guard"]);
      await one.run(null);
      const killed = one.verdicts.filter(({ killedBy }) => killedBy !== null);
      Kills.read(path).note(one.verdicts, true);
      const kills = Kills.read(path);
      for (const { mutant } of killed) expect(kills.killerOf(mutant)).toBe("guard");
      const left = one.verdicts.length - killed.length;
      const explained = one.verdicts.filter(({ mutant }) => explanationOf(mutant) !== null);
      expect(kills.open(one.verdicts.map(({ mutant }) => mutant))).toHaveLength(
        left - explained.length,
      );
      const rounds: string[] = [];
      const limits = { ...short, onProgress: (round: string): unknown => rounds.push(round) };
      const killerOf = (mutant: Mutant): string | null => kills.killerOf(mutant);
      for (const isTrusted of [false, true]) {
        rounds.length = 0;
        const again = new MutationRun(["sync/guard.ts"], limits, ["guard"]);
        await again.run({ killerOf, isTrusted });
        expect(rounds[0]).toBe(isTrusted ? "reach" : "known killers, short");
        expect(again.verdicts).toEqual(one.verdicts);
      }
    } finally {
      rmSync(scratch, { recursive: true });
    }
  }, 60_000);

  it("ends at a signal", async () => {
    const abort = new AbortController();
    const started = performance.now();
    const onProgress = (): void => abort.abort();
    const limits = { ...QUIET, signal: abort.signal, onProgress };
    const run = new MutationRun(["sync/guard.ts"], limits, mutationScenarios());
    await run.run(null);
    expect(run.verdicts.length).toBeGreaterThan(0);
    expect(performance.now() - started).toBeLessThan(20_000);
  }, 60_000);
});
