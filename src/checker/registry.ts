/** All scenarios and variants there are. */
import type { ScenarioPlace } from "./check.ts";
import { checkedModule } from "./instrument/places.ts";
import type { Scenario } from "./scenario.ts";
import * as changes from "./scenarios/dax/changes.ts";
import * as contents from "./scenarios/dax/contents.ts";
import * as clones from "./scenarios/dax/clones.ts";
import * as copied from "./scenarios/dax/copied.ts";
import * as copiedHome from "./scenarios/dax/copied-home.ts";
import * as copiedRoom from "./scenarios/dax/copied-room.ts";
import * as evicting from "./scenarios/dax/evicting.ts";
import * as copies from "./scenarios/dax/copies.ts";
import * as copiesShown from "./scenarios/dax/copies-shown.ts";
import * as populated from "./scenarios/dax/populated.ts";
import * as touches from "./scenarios/dax/touches.ts";
import * as daxDeaths from "./scenarios/dax/deaths.ts";
import * as ends from "./scenarios/dax/ends.ts";
import * as daxExtents from "./scenarios/dax/extents.ts";
import * as faults from "./scenarios/dax/faults.ts";
import * as poison from "./scenarios/dax/poison.ts";
import * as poisonParts from "./scenarios/dax/poison-parts.ts";
import * as poisonTold from "./scenarios/dax/poison-told.ts";
import * as parts from "./scenarios/dax/parts.ts";
import * as daxRemoval from "./scenarios/dax/removal.ts";
import * as claims from "./scenarios/device/claims.ts";
import * as removal from "./scenarios/layout/removal.ts";
import * as holePins from "./scenarios/dax/hole-pins.ts";
import * as daxPins from "./scenarios/dax/pins.ts";
import * as refusals from "./scenarios/dax/refusals.ts";
import * as daxFolios from "./scenarios/dax/folios.ts";
import * as lost from "./scenarios/dax/lost.ts";
import * as daxMarks from "./scenarios/dax/marks.ts";
import * as reclaim from "./scenarios/dax/reclaim.ts";
import * as reclaimRanges from "./scenarios/dax/reclaim-ranges.ts";
import * as reuse from "./scenarios/dax/reuse.ts";
import * as sharing from "./scenarios/dax/sharing.ts";
import * as sharingDeaths from "./scenarios/dax/sharing-deaths.ts";
import * as syncFaults from "./scenarios/dax/sync-faults.ts";
import * as tries from "./scenarios/dax/tries.ts";
import * as windowRecords from "./scenarios/dax/window-records.ts";
import * as windowSlices from "./scenarios/dax/window-slices.ts";
import * as windows from "./scenarios/dax/windows.ts";
import * as writes from "./scenarios/dax/writes.ts";
import * as writeBackEnds from "./scenarios/dax/write-back-ends.ts";
import * as writeBackChanges from "./scenarios/dax/write-back-changes.ts";
import * as writeBack from "./scenarios/dax/write-back.ts";
import * as entries from "./scenarios/mapping/entries.ts";
import * as extents from "./scenarios/ram/extents.ts";
import * as metadataBlocks from "./scenarios/metadata/blocks.ts";
import * as metadataCalls from "./scenarios/metadata/calls.ts";
import * as metadataJournal from "./scenarios/metadata/journal.ts";
import * as metadataJournalEnds from "./scenarios/metadata/journal-ends.ts";
import * as metadataTransactions from "./scenarios/metadata/transactions.ts";
import * as daxLeases from "./scenarios/dax/leases.ts";
import * as breaks from "./scenarios/layout/breaks.ts";
import * as leases from "./scenarios/layout/leases.ts";
import * as longTermPins from "./scenarios/layout/long-term-pins.ts";
import * as folios from "./scenarios/pins/folios.ts";
import * as holders from "./scenarios/pins/holders.ts";
import * as insisting from "./scenarios/pins/insisting.ts";
import * as pages from "./scenarios/pins/pages.ts";
import * as badPages from "./scenarios/pages/bad-pages.ts";
import * as pageTypes from "./scenarios/pages/page-types.ts";
import * as entryDeaths from "./scenarios/mapping/entry-deaths.ts";
import * as hugeEntries from "./scenarios/mapping/huge-entries.ts";
import * as mappings from "./scenarios/mapping/records.ts";
import * as marks from "./scenarios/mapping/marks.ts";
import * as pins from "./scenarios/pins/truncates.ts";
import * as pageReuse from "./scenarios/pins/reuse.ts";
import * as aborts from "./scenarios/sync/aborts.ts";
import * as deaths from "./scenarios/sync/deaths.ts";
import * as epochs from "./scenarios/sync/epochs.ts";
import * as fairness from "./scenarios/sync/fairness.ts";
import * as guards from "./scenarios/sync/guards.ts";
import * as joining from "./scenarios/sync/joining.ts";
import * as locks from "./scenarios/sync/locks.ts";
import * as memory from "./scenarios/sync/memory.ts";
import * as mutex from "./scenarios/sync/mutex.ts";
import * as tables from "./scenarios/sync/tables.ts";
import * as threads from "./scenarios/sync/threads.ts";
import * as trace from "./scenarios/sync/trace.ts";
import * as waits from "./scenarios/sync/waits.ts";
import * as pinWriteBack from "./scenarios/pins/write-back.ts";
import * as tree from "./scenarios/mapping/tree.ts";
import * as inodeEnds from "./scenarios/volume/inode-ends.ts";
import * as inodes from "./scenarios/volume/inodes.ts";
import * as growth from "./scenarios/volume/growth.ts";
import * as inodeLookups from "./scenarios/volume/inode-lookups.ts";
import * as recalls from "./scenarios/volume/recalls.ts";
import type { Variant } from "./variant.ts";
import * as breakVariants from "./variants/break.ts";
import * as copiedVariants from "./variants/copied.ts";
import * as daxVariants from "./variants/dax.ts";
import * as entryVariants from "./variants/entries.ts";
import * as growthVariants from "./variants/growth.ts";
import * as inodeVariants from "./variants/inodes.ts";
import * as journalVariants from "./variants/journal.ts";
import * as leaseVariants from "./variants/leases.ts";
import * as metadataVariants from "./variants/metadata.ts";
import * as pageVariants from "./variants/pages.ts";
import * as poisonVariants from "./variants/poison.ts";
import * as sharingVariants from "./variants/sharing.ts";
import * as removalVariants from "./variants/removal.ts";
import * as syncVariants from "./variants/sync.ts";
import * as syncFaultVariants from "./variants/sync-faults.ts";
import * as tellingVariants from "./variants/telling.ts";
import * as writeBackVariants from "./variants/write-back.ts";

/** By their modules' names below scenarios/, in the order in which they are listed. */
const SCENARIOS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "pins/truncates": pins,
  "pins/pages": pages,
  "pins/folios": folios,
  "pins/holders": holders,
  "pins/insisting": insisting,
  "pins/reuse": pageReuse,
  "pins/write-back": pinWriteBack,
  "pages/bad-pages": badPages,
  "pages/page-types": pageTypes,
  "layout/leases": leases,
  "layout/breaks": breaks,
  "layout/long-term-pins": longTermPins,
  "mapping/entries": entries,
  "mapping/huge-entries": hugeEntries,
  "mapping/entry-deaths": entryDeaths,
  "mapping/tree": tree,
  "mapping/marks": marks,
  "mapping/records": mappings,
  "dax/changes": changes,
  "dax/copied": copied,
  "dax/copied-home": copiedHome,
  "dax/copied-room": copiedRoom,
  "dax/evicting": evicting,
  "dax/contents": contents,
  "dax/clones": clones,
  "dax/copies": copies,
  "dax/copies-shown": copiesShown,
  "dax/populated": populated,
  "dax/touches": touches,
  "dax/ends": ends,
  "dax/deaths": daxDeaths,
  "dax/faults": faults,
  "dax/lost": lost,
  "dax/folios": daxFolios,
  "dax/pins": daxPins,
  "dax/refusals": refusals,
  "dax/marks": daxMarks,
  "dax/leases": daxLeases,
  "dax/reclaim": reclaim,
  "dax/reclaim-ranges": reclaimRanges,
  "dax/reuse": reuse,
  "dax/sharing": sharing,
  "dax/sharing-deaths": sharingDeaths,
  "dax/sync-faults": syncFaults,
  "dax/tries": tries,
  "dax/writes": writes,
  "dax/hole-pins": holePins,
  "dax/poison": poison,
  "dax/poison-parts": poisonParts,
  "dax/poison-told": poisonTold,
  "dax/parts": parts,
  "dax/removal": daxRemoval,
  "device/claims": claims,
  "layout/removal": removal,
  "dax/window-records": windowRecords,
  "dax/extents": daxExtents,
  "dax/window-slices": windowSlices,
  "dax/windows": windows,
  "dax/write-back": writeBack,
  "dax/write-back-changes": writeBackChanges,
  "dax/write-back-ends": writeBackEnds,
  "metadata/transactions": metadataTransactions,
  "metadata/blocks": metadataBlocks,
  "metadata/calls": metadataCalls,
  "metadata/journal": metadataJournal,
  "metadata/journal-ends": metadataJournalEnds,
  "ram/extents": extents,
  "volume/inodes": inodes,
  "volume/inode-ends": inodeEnds,
  "volume/growth": growth,
  "volume/inode-lookups": inodeLookups,
  "volume/recalls": recalls,
  "sync/locks": locks,
  "sync/fairness": fairness,
  "sync/aborts": aborts,
  "sync/deaths": deaths,
  "sync/mutex": mutex,
  "sync/guards": guards,
  "sync/epochs": epochs,
  "sync/memory": memory,
  "sync/waits": waits,
  "sync/trace": trace,
  "sync/tables": tables,
  "sync/threads": threads,
  "sync/joining": joining,
};

const VARIANTS: readonly Readonly<Record<string, Variant>>[] = [
  breakVariants,
  inodeVariants,
  leaseVariants,
  pageVariants,
  entryVariants,
  daxVariants,
  copiedVariants,
  poisonVariants,
  sharingVariants,
  removalVariants,
  syncVariants,
  syncFaultVariants,
  tellingVariants,
  writeBackVariants,
  metadataVariants,
  journalVariants,
  growthVariants,
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
