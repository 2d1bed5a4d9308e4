/** What the scenarios of the journal have in common: metadata over a medium that may lose its power. */
import type { Scenario } from "../../scenario.ts";
import {
  buildJournal,
  JournaledMetadata,
  type JournalShared,
  type JournalSpec,
} from "../../world/journal.ts";
import { type Story, storyIn } from "../../world/plots.ts";

export type JournalStory = Story<JournalShared, JournaledMetadata>;

export function journalStory(
  spec: JournalSpec,
  story: JournalStory,
): Scenario<JournalShared, JournaledMetadata> {
  return storyIn(
    {
      build: (actors) => buildJournal(actors, spec),
      begin: (shared, actors) => new JournaledMetadata(shared, actors),
    },
    story,
  );
}
