/** What the scenarios of metadata have in common: blocks, of which some are cached from the start. */
import type { Scenario } from "../../scenario.ts";
import { type Blocks, buildMetadata, Metadata, type MetadataShared } from "../../world/metadata.ts";
import { type Story, storyIn } from "../../world/plots.ts";

export type MetadataStory = Story<MetadataShared, Metadata>;

export function metadataStory(
  blocks: Blocks,
  story: MetadataStory,
): Scenario<MetadataShared, Metadata> {
  return storyIn(
    {
      build: (actors) => buildMetadata(actors, blocks),
      begin: (shared, actors) => new Metadata(shared, actors),
    },
    story,
  );
}
