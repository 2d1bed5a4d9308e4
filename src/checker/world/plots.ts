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

/** A plot with what comes before it, and what must hold after it. */
export interface Story<Shared, Local> extends Plot<Shared, Local> {
  /** Before the actors begin. */
  readonly prepare?: (local: Local) => void;
  /** What must hold at the end when all actors have played, beside what always must. */
  readonly finally?: (local: Local) => void;
}

export function storyIn<
  Shared extends { readonly region: Region },
  Local extends {
    readonly actors: readonly Self[];
    end(): void;
    /** At the very end, also after `finally`, which may still read: that no buffer is lost. */
    endOfBuffers?(): void;
    nameOf(word: number): string | null;
  },
>(
  world: Omit<World<Shared, Local>, "end">,
  { prepare, finally: last, ...plot }: Story<Shared, Local>,
): Scenario<Shared, Local> {
  return playedIn<Shared, Local>(
    {
      ...world,
      begin(shared, actors) {
        const local = world.begin(shared, actors);
        prepare?.(local);
        return local;
      },
      end(local) {
        local.end();
        if (local.actors.length === Object.keys(plot.actors).length) last?.(local);
        local.endOfBuffers?.();
      },
    },
    plot,
  );
}
