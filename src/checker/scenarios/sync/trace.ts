/** The trace ring: read by one thread while another one writes it. */
import { load } from "../../../sync/atomics.ts";
import type { Region } from "../../../sync/region.ts";
import {
  makeRing,
  readRing,
  RECORD_WORDS,
  ringPosition,
  writeRecord,
} from "../../../sync/trace-ring.ts";
import { ensure, type Scenario, scenario } from "../../scenario.ts";
import { regionWithThreads } from "../../world/threads.ts";

interface Shared {
  readonly region: Region;
  readonly ring: number;
}

const RECORDS = 2;

/** A record that is whole has the same number in each of its words. */
function fieldsOf(number: number): number[] {
  return Array(RECORD_WORDS - 1).fill(number);
}

function ringStory(
  story: Pick<Scenario<Shared, Shared>, "name" | "about" | "from" | "actors" | "explore">,
): Scenario<Shared, Shared> {
  return scenario({
    ...story,
    build: () => {
      const { region } = regionWithThreads(2);
      return { region, ring: makeRing(region, RECORDS) };
    },
    region: (shared: Shared) => shared.region,
    begin: (shared) => shared,
    end: ({ region, ring }) => {
      const left = readRing(region.words, ring, 0);
      const numbers = left.records.map(([first]) => first).join(" ");
      ensure(numbers === "2 3", `the last records are ${numbers}`);
      ensure(left.lost === 1, `${left.lost} records count as lost`);
    },
    watch: { written: ({ region, ring }) => ringPosition(region.words, ring) },
    nameOf: ({ ring }, word) => {
      const within = word - ring - 8;
      if (word === ring) return "records";
      if (word === ring + 1) return "records written";
      if (within < 0 || within >= RECORDS * RECORD_WORDS) return null;
      const field = within % RECORD_WORDS;
      return `record ${Math.floor(within / RECORD_WORDS)}: ${field === 0 ? "number" : `word ${field}`}`;
    },
  });
}

export const traceRing = ringStory({
  name: "trace-ring",
  about:
    "A thread writes three records into a ring of two, while another one reads it twice. What is read is " +
    "whole, in order and read once; what is not read is counted as lost.",
  from: "sync/trace-ring.ts, rules 1 and 2",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    writer({ region, ring }) {
      for (let number = 1; number <= 3; number++) {
        writeRecord(region.words, ring, fieldsOf(number));
      }
    },
    reader({ region, ring }) {
      let position = 0;
      let seen = 0;
      let count = 0;
      let lost = 0;
      for (let turn = 0; turn < 2; turn++) {
        const read = readRing(region.words, ring, position);
        for (const fields of read.records) {
          const number = fields[0]!;
          ensure(
            fields.every((field) => field === number),
            `a torn record is read: ${fields.join(" ")}`,
          );
          ensure(number > seen, `record ${number} is read after record ${seen}`);
          seen = number;
          count++;
        }
        // The record after those that count as written may be under way.
        const begun = ringPosition(region.words, ring) + 1;
        ensure(read.lost === 0 || begun > position + RECORDS, "what is lost was not overwritten");
        position = read.position;
        lost += read.lost;
      }
      ensure(count + lost === position, `${count} are read and ${lost} lost of ${position}`);
      ensure(load(region.words, ring + 1) >= position, "more is read than was written");
    },
  },
});
