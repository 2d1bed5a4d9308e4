import type { Explanation } from "./explanation.ts";

export const metadataSurvivors: readonly Explanation[] = [
  {
    file: "metadata/cache.ts",
    function: "create",
    what: ["swapped: store(thread.words, area + Area.blockSize"],
    why: "The area is made before any other thread shares the region.",
  },
  {
    file: "metadata/cache.ts",
    function: "flush",
    what: [
      "always: if (this.#blockOf(header) === kept)",
      "never: if (this.#blockOf(header) === kept)",
    ],
    why: "A block is left out only where a volume that has grown is unmounted, which no scenario does; always is never to flush, which fails at once in the tests.",
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
    function: "#view",
    what: ["always: if (view === undefined)", "left out: this.#views.set(block, view)"],
    why: "Costs time, and room in a transaction's log: two views of a block show one buffer. What is saved once more is undone last first.",
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
    function: "#editFirst",
    what: ["always: if (flags !== (VALID | DIRTY))"],
    why: "Costs time only: the flags are what they are set to.",
  },
  {
    file: "metadata/transaction.ts",
    function: "beginLayoutChange",
    what: ["swapped: this.#append(0, sequence", "swapped: this.#sequences.push(sequence)"],
    why: "The list is this thread's own, and what is on it and even is left alone at the end. A recoverer reads the log.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#save",
    what: ["without this.#joining === null"],
    why: "Costs time only: whether the journal is live does not change while the transaction is open.",
  },
  {
    file: "metadata/transaction.ts",
    function: "create",
    what: [
      "swapped: this.#noteUnsealed(cached.header, seal",
      "swapped: this.cache.setFlags(cached.header, VALID | DIRTY); this.#noteUnsealed",
    ],
    why: "Nobody seals a block while the transaction is open, and what is undone has its words back.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#noteUnsealed",
    what: ["swapped: this.setWord(header + BufferHeader.seal"],
    why: "Nobody seals a block while the transaction is open, and what is undone has its words back.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#noteUnsealed",
    what: ["always: if ((before & parts) !== parts)"],
    why: "Costs time only: the word is what it is set to.",
  },
  {
    file: "metadata/cache.ts",
    function: "seal",
    what: ["never: if (parts === 0)"],
    why: "Costs time only: the sealer is asked to seal no part of the block.",
  },
  {
    file: "metadata/journal.ts",
    function: "#collect",
    what: ["swapped: this.cache.seal(block)"],
    why: "The list is this call's own.",
  },
  {
    file: "metadata/transaction.ts",
    function: "revoke",
    what: ["swapped: this.cache.setFlags(cached.header, 0)"],
    why: "Nobody seals a block while the transaction is open, and what is undone has its words back.",
  },
  {
    file: "metadata/transaction.ts",
    function: "#append",
    what: [
      "swapped: storeOwn(words, trailer, a)",
      "swapped: storeOwn(words, trailer + 1, b)",
      "swapped: storeOwn(words, trailer + 2, kind)",
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
  {
    file: "metadata/journal.ts",
    function: "start",
    what: ["swapped: "],
    why: "A mount begins the journal before anybody else uses it.",
  },
  {
    file: "metadata/journal.ts",
    function: "end",
    what: ["swapped: this.#setStart"],
    why: "An unmount ends the journal when nobody else uses it, and persists the device after both.",
  },
  {
    file: "metadata/journal.ts",
    function: "join",
    what: ["swapped: transaction.setWord(list", "swapped: transaction.setWord(this.#of(sequence"],
    why: "All happens inside the transaction, and is undone together.",
  },
  {
    file: "metadata/journal.ts",
    function: "seal",
    what: [
      'swapped: store(words, this.#of(sequence, "recordAt")',
      'swapped: store(words, this.#of(sequence, "end")',
      'swapped: store(words, this.#of(sequence, "committed")',
      'swapped: store(words, this.#of(before, "list")',
    ],
    why: "Nobody looks at them before `running` rises; where a thread dies before that, the next one writes them all again.",
  },
  {
    file: "metadata/journal.ts",
    function: "#beginTail",
    what: ['swapped: store(words, this.#of(sequence, "tailSequence")'],
    why: "Nobody looks at them before `running` rises; where a thread dies before that, the next one writes them again.",
  },
  {
    file: "metadata/journal.ts",
    function: "#beginTail",
    what: ["without log.distance(tail, at)"],
    why: "Costs time only: what is durable goes home at each seal, whether room is needed or not.",
  },
  {
    file: "metadata/journal.ts",
    function: "record",
    what: ['always: if (this.#word("tail") === 0'],
    why: "Costs time only: the note is written as it is already.",
  },
  {
    file: "metadata/journal.ts",
    function: "finish",
    what: [
      "swapped: store(words, this.#area + Area.tailSequence",
      "swapped: store(words, this.#area + Area.tail,",
    ],
    why: "Nobody looks at the log's beginning before `durable` rises and something is sealed again; where a thread dies before that, the next one writes them all again.",
  },
  {
    file: "metadata/journal.ts",
    function: "finish",
    what: ["swapped: notePersistent"],
    why:
      'Costs time only: a thread that dies in between leaves a smaller number, which says "at least", until the ' +
      "next commit.",
  },
  {
    file: "metadata/journal.ts",
    function: "abort",
    what: ["swapped: store(this.thread.words, this.#area + Area.state"],
    why: "The guard keeps the log's notes; the state is read without it.",
  },
];
