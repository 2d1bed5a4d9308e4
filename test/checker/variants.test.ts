import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Checked } from "../../src/checker/check.ts";
import { listScenarios, listVariants } from "../../src/checker/registry.ts";

const kept = fileURLToPath(new URL("../../docs/counterexamples", import.meta.url));
const scenarios = listScenarios();
const variants = listVariants();

function textsOf(name: string): string[] {
  return readdirSync(kept).filter((file) => file.startsWith(`${name}.`));
}

describe("every variant", () => {
  test("has a name of its own, and scenarios that exist", () => {
    const names = [...variants.map(({ name }) => name), ...scenarios.map((s) => s.scenario.name)];
    expect(new Set(names).size).toBe(names.length);
    for (const { name, caughtBy, holdsIn = [] } of variants) {
      for (const scenario of [...Object.keys(caughtBy), ...holdsIn]) {
        expect(
          scenarios.some((each) => each.scenario.name === scenario),
          `${name} is caught by ${scenario}`,
        ).toBe(true);
      }
    }
  });

  test("is caught by a scenario, or says why it holds", () => {
    for (const { name, caughtBy, holds, holdsIn = [] } of variants) {
      expect(Object.keys(caughtBy).length > 0, name).toBe(holds === undefined);
      expect(holdsIn.length > 0, name).toBe(holds !== undefined);
    }
  });

  test("that is caught has its counterexample kept, and nothing else is kept", () => {
    const wanted = variants.flatMap(({ name, caughtBy }) =>
      Object.keys(caughtBy).map((scenario) => `${name}.${scenario}.txt`),
    );
    expect(readdirSync(kept).sort()).toEqual(wanted.sort());
  });
});

describe("the kept counterexample fails still, played again:", () => {
  for (const variant of variants) {
    for (const [scenario, kind] of Object.entries(variant.caughtBy)) {
      test(`${variant.name} in ${scenario}`, async () => {
        const [file] = textsOf(variant.name).filter((each) => each.includes(`.${scenario}.`));
        const text = readFileSync(join(kept, file!), "utf8");
        const replay = /--replay "([^"]*)"/.exec(text)![1]!;
        const place = scenarios.find((each) => each.scenario.name === scenario)!;
        const broken = await (await Checked.load(place, variant)).check({ replay });
        expect(broken.story!.failure?.kind).toBe(kind);
      });
    }
  }
});
