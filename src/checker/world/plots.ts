/** What happens in a scenario, put into the world that it happens in. */
import type { Region } from "../../sync/region.ts";
import { type Plot, type Scenario, type Self, scenario } from "../scenario.ts";

/** Shared memory, and the objects of one schedule over it. */
interface World<Shared, Local> extends Pick<Scenario<Shared, Local>, "watch"> {
  build(actors: number): Shared;
  begin(shared: Shared, actors: readonly Self[]): Local;
  /** Default: the local's own. */
  end?(local: Local): void;
}

export function playedIn<
  Shared extends { readonly region: Region },
  Local extends { end(): void; nameOf(word: number): string | null },
>(world: World<Shared, Local>, plot: Plot<Shared, Local>): Scenario<Shared, Local> {
  return scenario({
    end: (local: Local) => local.end(),
    ...world,
    ...plot,
    build: () => world.build(Object.keys(plot.actors).length),
    region: (shared: Shared) => shared.region,
    nameOf: (local: Local, word: number) => local.nameOf(word),
  });
}
