/** What the scenarios of the journal have in common: metadata over a medium that may lose its power. */
import type { Plot, Scenario } from "../../scenario.ts";
import {
  buildJournal,
  JournaledMetadata,
  type JournalShared,
  type JournalSpec,
} from "../../world/journal.ts";
import { playedIn } from "../../world/plots.ts";

export interface JournalStory extends Plot<JournalShared, JournaledMetadata> {
  /** Before the actors begin. */
  readonly prepare?: (journaled: JournaledMetadata) => void;
}

export function journalStory(
  spec: JournalSpec,
  { prepare, ...plot }: JournalStory,
): Scenario<JournalShared, JournaledMetadata> {
  return playedIn(
    {
      build: (actors) => buildJournal(actors, spec),
      begin(shared, actors) {
        const journaled = new JournaledMetadata(shared, actors);
        prepare?.(journaled);
        return journaled;
      },
      end(journaled) {
        journaled.end();
        journaled.endOfBuffers();
      },
    },
    plot,
  );
}
