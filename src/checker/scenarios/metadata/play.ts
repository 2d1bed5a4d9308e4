/** What the scenarios of metadata have in common: blocks, of which some are cached from the start. */
import type { Plot, Scenario } from "../../scenario.ts";
import { type Blocks, buildMetadata, Metadata, type MetadataShared } from "../../world/metadata.ts";
import { playedIn } from "../../world/plots.ts";

export interface Story extends Plot<MetadataShared, Metadata> {
  /** Before the actors begin. */
  readonly prepare?: (metadata: Metadata) => void;
  /** What must hold at the end when all actors have played, beside what always must. */
  readonly finally?: (metadata: Metadata) => void;
}

export function metadataStory(
  blocks: Blocks,
  { prepare, finally: last, ...plot }: Story,
): Scenario<MetadataShared, Metadata> {
  return playedIn(
    {
      build: (actors) => buildMetadata(actors, blocks),
      begin(shared, actors) {
        const metadata = new Metadata(shared, actors);
        prepare?.(metadata);
        return metadata;
      },
      end(metadata) {
        metadata.end();
        if (metadata.actors.length === Object.keys(plot.actors).length) last?.(metadata);
        metadata.endOfBuffers();
      },
    },
    plot,
  );
}
