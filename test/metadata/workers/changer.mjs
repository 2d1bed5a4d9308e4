// Changes two blocks and a word in transactions, for ever: whoever terminates it finds them agreeing.
import { parentPort, workerData } from "node:worker_threads";
import { memoryStore } from "../memory-store.mjs";
import { MetadataCache } from "../../../dist/metadata/cache.js";
import { beginTransaction, recoverTransactions } from "../../../dist/metadata/transaction.js";
import { recoverLocks } from "../../../dist/sync/lock.js";
import { Region } from "../../../dist/sync/region.js";
import { runBlocking } from "../../../dist/sync/runners.js";
import { Thread } from "../../../dist/sync/thread.js";

const region = Region.attach(workerData.buffer);
const thread = Thread.join(region);
recoverLocks(thread);
const cache = MetadataCache.attach(thread, memoryStore(workerData.store));
recoverTransactions(cache);
parentPort?.postMessage("joined");

for (let turn = 1; ; turn++) {
  runBlocking(thread, function* (task) {
    const transaction = yield* beginTransaction(task, cache);
    transaction.beginLayoutChange(workerData.sequence);
    for (const block of [1, 2]) {
      const cached = transaction.edit(
        cache.read(block, () => {}),
        2,
      );
      for (let at = 0; at < 4092; at += 4) cached.view.setUint32(at, turn);
    }
    transaction.setWord(workerData.word, turn);
    if (turn % 5 === 0) transaction.abort();
    else transaction.commit();
  });
}
