// The main job from outside: what `npm start` runs, for a few seconds, and that it can fail.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { hasTool, type Outcome, run } from "../support/tools.ts";
import { holdfast, program } from "./program.ts";

const collide = (...args: string[]): Outcome => holdfast("collide", ...args);

function result(outcome: Outcome) {
  expect(outcome.stderr).toBe("");
  const lines = outcome.stdout.split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[1]).toBe("");
  return JSON.parse(lines[0]!);
}

describe.each(["ram", "ext4"])("on an %s volume", (driver) => {
  test("three seconds of collisions leave nothing torn, foreign or lost", () => {
    const outcome = collide("--driver", driver, "--seconds", "3", "--seed", "5", "--json");
    const found = result(outcome);
    expect(found.findings).toEqual([]);
    expect(outcome.code).toBe(0);
    expect(found).toMatchObject({
      ok: true,
      driver,
      protect: true,
      seed: 5,
      tornIos: 0,
      foreignBlocks: 0,
      staleWindows: 0,
      unfinishedBlocks: 0,
      leakedPins: 0,
    });
    expect(found.blocksFree.after).toBe(found.blocksFree.before);
    for (const times of [
      found.blocksChecked.during,
      found.ioTotal.count,
      found.layoutChangesTotal,
      found.faults,
    ]) {
      expect(times).toBeGreaterThan(0);
    }
    if (driver !== "ext4" || !hasTool("e2fsck")) return;
    expect(found.e2fsck).toEqual([
      { isClean: true, complaints: [] },
      { isClean: true, complaints: [] },
    ]);
  });

  test("without protection the damage is found within seconds, and explained", () => {
    const outcome = collide("--driver", driver, "--seconds", "20", "--protect", "off");
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toMatch(/^(Torn I\/Os|Foreign blocks) +[1-9]/m);
    expect(outcome.stdout).toContain("Protection is off: layout changes did not wait");
    const seconds = Number(/([\d.]+) s, seed/.exec(outcome.stdout)?.[1]);
    expect(seconds).toBeLessThan(15);
  });
});

describe.each(["ram", "ext4"])("the full mix on an %s volume", (driver) => {
  test("leases, lost pages, aborted cuts and dying threads leave nothing torn, foreign or lost", () => {
    const found = result(collide("--driver", driver, "--mix=full", "--seconds=6", "--json"));
    expect(found).toMatchObject({ ok: true, findings: [], mix: "full", leakedPins: 0 });
    expect(found.blocksFree.after).toBe(found.blocksFree.before);
    const { leasesReturned, lossesReported, threadsKilled, writtenBack } = found.troubles;
    for (const times of [leasesReturned, lossesReported, threadsKilled, writtenBack]) {
      expect(times).toBeGreaterThan(0);
    }
    if (driver !== "ext4" || !hasTool("e2fsck")) return;
    expect(found.e2fsck.every(({ isClean }: { isClean: boolean }) => isClean)).toBe(true);
  });

  test("without protection it finds the damage, too", () => {
    const outcome = collide("--driver", driver, "--mix=full", "--seconds=20", "--protect=off");
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toMatch(/^(Torn I\/Os|Foreign blocks) +[1-9]/m);
  });
});

test("one thread alone collides with itself", () => {
  const outcome = collide("--driver=ram", "--seconds=1", "--threads=1", "--json");
  expect(result(outcome)).toMatchObject({ ok: true, threads: 1, findings: [] });
});

test("an interrupt ends the run early, and everything is still checked and printed", async () => {
  const child = spawn(process.execPath, [program, "collide", "--driver=ram", "--seconds=60"]);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  // It says on standard error that it has begun.
  child.stderr.once("data", () => setTimeout(() => child.kill("SIGINT"), 500));
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect(output).toContain("interrupted");
  expect(output).toContain("Nothing wrong was found.");
  expect(code).toBe(0);
});

test("--keep leaves the image and says where; without it nothing is left", () => {
  const kept = result(collide("--seconds=0.5", "--threads=1", "--keep", "--json"));
  expect(existsSync(kept.image)).toBe(true);
  run("rm", ["-r", dirname(kept.image)]);
  expect(result(collide("--seconds=0.5", "--threads=1", "--json")).image).toBeNull();
});
