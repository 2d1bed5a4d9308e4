// Runs programs that are given as lists of operations. Loaded by the linker, never as it is.
import {
  add,
  addThenStore,
  cas,
  casThenStore,
  exchange,
  load,
  sleepWhile,
  store,
  storeOwn,
  wakeAll,
} from "../../../dist/checked/sync/atomics.js";

export const DEAD = 3;
export const REAPED = 5;
export const ABORTED = -9;

export function* act(words, operations, seen) {
  for (let at = 0; at < operations.length; at++) {
    const operation = operations[at];
    if (operation.kind === "skipIf") {
      if ((seen.at(-1) ?? 0) === operation.value) at++;
      continue;
    }
    try {
      yield* run(words, operation, seen);
    } catch (error) {
      if (error.message !== "aborted") throw error;
      seen.push(ABORTED);
    }
  }
}

function* run(words, operation, seen) {
  const { kind, word, value, expected, note } = operation;
  const wait = { word, expected, what: () => `word ${word} to change` };
  switch (kind) {
    case "load":
      seen.push(load(words, word));
      break;
    case "store":
      store(words, word, value);
      break;
    case "storeSeen":
      store(words, word, (seen.at(-1) ?? 0) + 1);
      break;
    case "storeOwn":
      storeOwn(words, word, value);
      break;
    case "add":
      seen.push(add(words, word, value));
      break;
    case "exchange":
      seen.push(exchange(words, word, value));
      break;
    case "cas":
      seen.push(cas(words, word, expected, value) ? 1 : 0);
      break;
    case "wake":
      wakeAll(words, word);
      break;
    case "wait":
      yield wait;
      break;
    case "waitUntil":
      while (load(words, word) === expected) yield wait;
      break;
    case "poll":
      sleepWhile(words, word, expected, 1);
      break;
    case "addThenStore":
      seen.push(addThenStore(words, word, 1, note, 3));
      break;
    case "casThenStore":
      seen.push(casThenStore(words, word, expected, expected + 1, note, 3) ? 1 : 0);
      break;
  }
}

export function* reap(words) {
  if (!cas(words, DEAD, 1, 2)) return;
  store(words, 0, REAPED);
  wakeAll(words, 0);
  store(words, DEAD, 0);
}
