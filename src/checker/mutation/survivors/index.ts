/** The mutants that live and why they may, layer by layer. */
import type { Mutant } from "../mutants.ts";
import { copiedSurvivors } from "./copied.ts";
import { daxChangeSurvivors } from "./dax-changes.ts";
import { daxSurvivors } from "./dax.ts";
import { deviceSurvivors } from "./device.ts";
import type { Explanation } from "./explanation.ts";
import { growthSurvivors } from "./growth.ts";
import { inodeSurvivors } from "./inodes.ts";
import { layoutSurvivors } from "./layout.ts";
import { lookupSurvivors } from "./lookups.ts";
import { mappingSurvivors } from "./mapping.ts";
import { metadataSurvivors } from "./metadata.ts";
import { pagesSurvivors } from "./pages.ts";
import { pinSurvivors } from "./pin.ts";
import { ramSurvivors } from "./ram.ts";
import { sharingSurvivors } from "./sharing.ts";
import { syncSurvivors } from "./sync.ts";
import { windowSurvivors } from "./window.ts";

const EXPLANATIONS: readonly Explanation[] = [
  ...syncSurvivors,
  ...deviceSurvivors,
  ...pagesSurvivors,
  ...mappingSurvivors,
  ...pinSurvivors,
  ...layoutSurvivors,
  ...daxSurvivors,
  ...daxChangeSurvivors,
  ...copiedSurvivors,
  ...windowSurvivors,
  ...metadataSurvivors,
  ...ramSurvivors,
  ...sharingSurvivors,
  ...inodeSurvivors,
  ...lookupSurvivors,
  ...growthSurvivors,
];

/** The explanation of a mutant, or null. */
export function explanationOf(mutant: Mutant): Explanation | null {
  return EXPLANATIONS.find((each) => explains(each, mutant)) ?? null;
}

/** Explanations of mutants that there are no longer. */
export function staleExplanations(mutants: readonly Mutant[]): string[] {
  return EXPLANATIONS.flatMap((each) => {
    const texts = each.what ?? [""];
    return texts
      .filter((text) => !mutants.some((mutant) => explains({ ...each, what: [text] }, mutant)))
      .map((text) => `${each.file}: ${each.function}: ${text}`);
  });
}

function explains({ file, function: name, what }: Explanation, mutant: Mutant): boolean {
  if (mutant.file !== file || mutant.function !== name) return false;
  return what === undefined || what.some((text) => mutant.what.includes(text));
}
