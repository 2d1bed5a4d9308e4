/** All scenarios and variants there are. */
import type { ScenarioPlace } from "./check.ts";
import { checkedModule } from "./instrument/places.ts";
import type { Scenario } from "./scenario.ts";
import * as changes from "./scenarios/dax/changes.ts";
import * as ends from "./scenarios/dax/ends.ts";
import * as faults from "./scenarios/dax/faults.ts";
import * as reuse from "./scenarios/dax/reuse.ts";
import * as entries from "./scenarios/entries.ts";
import * as entryDeaths from "./scenarios/entry-deaths.ts";
import * as hugeEntries from "./scenarios/huge-entries.ts";
import * as mappings from "./scenarios/mappings.ts";
import * as marks from "./scenarios/marks.ts";
import * as pins from "./scenarios/pins.ts";
import * as aborts from "./scenarios/sync/aborts.ts";
import * as deaths from "./scenarios/sync/deaths.ts";
import * as epochs from "./scenarios/sync/epochs.ts";
import * as fairness from "./scenarios/sync/fairness.ts";
import * as guards from "./scenarios/sync/guards.ts";
import * as locks from "./scenarios/sync/locks.ts";
import * as memory from "./scenarios/sync/memory.ts";
import * as mutex from "./scenarios/sync/mutex.ts";
import * as tables from "./scenarios/sync/tables.ts";
import * as threads from "./scenarios/sync/threads.ts";
import * as waits from "./scenarios/sync/waits.ts";
import * as tree from "./scenarios/tree.ts";
import type { Variant } from "./variant.ts";
import * as breakVariants from "./variants/break.ts";
import * as daxVariants from "./variants/dax.ts";
import * as entryVariants from "./variants/entries.ts";
import * as pageVariants from "./variants/pages.ts";
import * as syncVariants from "./variants/sync.ts";

/** By their modules' names below scenarios/, in the order in which they are listed. */
const SCENARIOS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  pins,
  entries,
  "huge-entries": hugeEntries,
  "entry-deaths": entryDeaths,
  tree,
  marks,
  mappings,
  "dax/changes": changes,
  "dax/ends": ends,
  "dax/faults": faults,
  "dax/reuse": reuse,
  "sync/locks": locks,
  "sync/fairness": fairness,
  "sync/aborts": aborts,
  "sync/deaths": deaths,
  "sync/mutex": mutex,
  "sync/guards": guards,
  "sync/epochs": epochs,
  "sync/memory": memory,
  "sync/waits": waits,
  "sync/tables": tables,
  "sync/threads": threads,
};

const VARIANTS: readonly Readonly<Record<string, Variant>>[] = [
  breakVariants,
  pageVariants,
  entryVariants,
  daxVariants,
  syncVariants,
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
