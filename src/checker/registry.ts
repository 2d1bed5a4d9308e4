/** All scenarios and variants there are. */
import type { ScenarioPlace } from "./check.ts";
import type { Scenario } from "./scenario.ts";
import type { Variant } from "./variant.ts";

/** Modules below scenarios/, in the order in which they are listed. */
const SCENARIO_MODULES = ["pin-truncate"] as const;
/** Modules below variants/. */
const VARIANT_MODULES = ["break"] as const;

export interface ListedScenario extends ScenarioPlace {
  readonly scenario: Scenario;
}

const checked = new URL("../checked/checker/scenarios/", import.meta.url);

function isScenario(value: unknown): value is Scenario {
  return typeof value === "object" && value !== null && "actors" in value && "build" in value;
}

/** Reads what the scenarios say of themselves. Nothing is instrumented for that. */
export async function listScenarios(): Promise<ListedScenario[]> {
  const listed: ListedScenario[] = [];
  for (const file of SCENARIO_MODULES) {
    const exports: object = await import(`./scenarios/${file}.js`);
    for (const [name, scenario] of Object.entries(exports)) {
      if (!isScenario(scenario)) continue;
      listed.push({ module: new URL(`${file}.js`, checked), name, scenario });
    }
  }
  return listed;
}

export async function listVariants(): Promise<Variant[]> {
  const listed: Variant[] = [];
  for (const file of VARIANT_MODULES) {
    const exports: object = await import(`./variants/${file}.js`);
    listed.push(...(Object.values(exports) as Variant[]));
  }
  return listed;
}
