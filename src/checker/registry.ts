/** All scenarios and variants there are. */
import type { ScenarioPlace } from "./check.ts";
import { checkedModule } from "./instrument/places.ts";
import type { Scenario } from "./scenario.ts";
import * as entries from "./scenarios/entries.ts";
import * as pinTruncate from "./scenarios/pin-truncate.ts";
import * as pins from "./scenarios/pins.ts";
import type { Variant } from "./variant.ts";
import * as breakVariants from "./variants/break.ts";
import * as entryVariants from "./variants/entries.ts";
import * as pageVariants from "./variants/pages.ts";

/** By their modules' names below scenarios/, in the order in which they are listed. */
const SCENARIOS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "pin-truncate": pinTruncate,
  pins,
  entries,
};

const VARIANTS: readonly Readonly<Record<string, Variant>>[] = [
  breakVariants,
  pageVariants,
  entryVariants,
];

/** A scenario with where its checked build is. Nothing is instrumented to list them. */
export interface ListedScenario extends ScenarioPlace {
  readonly scenario: Scenario;
}

export function listScenarios(): ListedScenario[] {
  return Object.entries(SCENARIOS).flatMap(([file, exports]) =>
    Object.entries(exports).map(([name, scenario]) => ({
      module: checkedModule(`checker/scenarios/${file}.js`),
      name,
      scenario: scenario as Scenario,
    })),
  );
}

export function listVariants(): Variant[] {
  return VARIANTS.flatMap((exports) => Object.values(exports));
}
