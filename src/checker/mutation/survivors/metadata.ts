import type { Explanation } from "./explanation.ts";

export const metadataSurvivors: readonly Explanation[] = [
  {
    file: "metadata/cache.ts",
    function: "create",
    what: ["swapped: store(thread.words, area + Area.blockSize"],
    why: "The area is made before any other thread shares the region.",
  },
  {
    file: "metadata/transaction.ts",
    function: "createTransactionArea",
    what: ["swapped: store(words, area + Area.size"],
    why: "The area is made before any other thread shares the region.",
  },
  {
    file: "metadata/cache.ts",
    function: "read",
    what: ["never: if (known !== undefined"],
    why: "Costs time only: the view is a short cut to what the bucket gives, which is looked at next.",
  },
  {
    file: "metadata/cache.ts",
    function: "buffer",
    what: ["never: if (known !== undefined)", "always: if (header === 0)"],
    why: "Costs time only: the bucket gives the same; and `#insert` looks again, under the guard, and gives a buffer that is not needed back.",
  },
  {
    file: "metadata/cache.ts",
    function: "#insert",
    what: [
      "swapped: store(words, header + Header.low",
      "swapped: store(words, header + Header.high",
      "swapped: store(words, header + Header.flags, flags); store(words, header + Header.next",
    ],
    why: "Nobody comes to the header before it is in its bucket, but `flush`, which looks for dirty ones, and these flags are never dirty.",
  },
  {
    file: "metadata/transaction.ts",
    function: "recoverTransactions",
    what: ["swapped: store(thread.words, area + Area.used, 0)"],
    why: "Until the mutex is free only another recoverer looks. It finds either an empty log to undo, or the log of a transaction that is idle, which it empties.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#end",
    what: ["swapped: store(thread.words, this.#area + Area.used, 0)"],
    why: "Until the mutex is free only a recoverer looks. It finds either an empty log to undo, or the log of a transaction that is idle, which it empties.",
  },
  {
    file: "metadata/transaction.ts",
    function: "edit",
    what: ["swapped: this.cache.setFlags(cached.header, VALID | DIRTY); this.#seals.set"],
    why: "The seals are this thread's own, and used at the commit only.",
  },
  {
    file: "metadata/transaction.ts",
    function: "create",
    what: ["swapped: cached.bytes.fill(0); this.#seals.set"],
    why: "The seals are this thread's own, and used at the commit only.",
  },
  {
    file: "metadata/transaction.ts",
    function: "revoke",
    what: ["swapped: this.cache.setFlags(cached.header, 0); this.#seals.delete"],
    why: "The seals are this thread's own, and used at the commit only.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#append",
    what: [
      "swapped: store(words, record + payload, a)",
      "swapped: store(words, record + payload + 1, b)",
      "swapped: store(words, record + payload + 2, kind)",
    ],
    why: "Nobody reads the record before `used` covers it, which is stored after all of it.",
  },
  {
    file: "metadata/transaction.ts",
    function: "notePersistent",
    what: ["whatever is there: cas("],
    why:
      'Costs time only: with a smaller number than was there, which says "at least", somebody flushes what is ' +
      "on the medium already.",
  },
];
