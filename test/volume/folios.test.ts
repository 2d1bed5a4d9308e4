// Folios of 2 MiB from end to end: one extent, one entry, one fault, one pin count; taken apart by a change of a
// part of them, and never put together again while an entry is there.

import { describe, expect, test } from "vitest";
import type { FileHandle, TraceRecord } from "../../src/index.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const FOLIO = 2 ** 21;
const FOLIO_PAGES = FOLIO / PAGE;
const VOLUME_BYTES = 64 * 2 ** 20;

/** What was put into windows: first page, and how many. */
function inserted(records: readonly TraceRecord[]): unknown[] {
  return records
    .filter(({ event }) => event === "dax_insert_mapping")
    .map(({ args }) => [args["page"], args["pages"]]);
}

function pattern(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => (at % 251) + 1);
}

/** Whether a punch of a page waits for somebody, who would have to let go within 50 ms. */
function waits(file: FileHandle, page: number): boolean {
  try {
    file.fallocateSync("punch-hole", page * PAGE, PAGE, { timeoutMs: 50 });
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: "ETIMEDOUT" });
    return true;
  }
}

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name", (kind) => {
  test("an aligned 2 MiB is shown by one fault and pinned as one, until a part of it is cut off", () => {
    using made = kind.make(VOLUME_BYTES);
    const bytes = pattern(3 * FOLIO);
    {
      using file = made.volume.openSync("/file", "w+");
      file.fallocateSync("allocate", 0, 3 * FOLIO);
      file.writeSync(bytes, 0);
      const { trace } = made.volume;
      trace.start();
      using window = file.map();
      const { faults } = made.volume.statistics();
      const touched = [0, 100, FOLIO_PAGES - 1].map((page) => window.bytes[FOLIO + page * PAGE]);
      trace.stop();
      expect(touched).toEqual([0, 100, FOLIO_PAGES - 1].map((page) => bytes[FOLIO + page * PAGE]));
      if (made.volume.statistics().faults > faults) {
        expect(made.volume.statistics().faults).toBe(faults + 1);
        expect(inserted(trace.read())).toEqual([[FOLIO_PAGES, FOLIO_PAGES]]);
      }

      // One pin count for all of it: so whoever changes a part waits for pins of any other.
      const pin = file.pinSync(FOLIO + 100 * PAGE, PAGE);
      expect(waits(file, FOLIO_PAGES + 200)).toBe(true);
      expect(waits(file, 200)).toBe(false);
      pin.release();

      // After a truncation into it there are entries of pages, which stay when the file grows again.
      file.truncateSync(2 * FOLIO - 50 * PAGE - 7);
      file.pinSync(FOLIO + 101 * PAGE, PAGE).release();
      file.writeSync(bytes.subarray(2 * FOLIO - 50 * PAGE - 7), 2 * FOLIO - 50 * PAGE - 7);
      const part = file.pinSync(FOLIO + 100 * PAGE, PAGE);
      expect(waits(file, FOLIO_PAGES + 200)).toBe(false);
      expect(waits(file, FOLIO_PAGES + 100)).toBe(true);
      part.release();
      file.writeSync(bytes.subarray(FOLIO, FOLIO + 201 * PAGE), FOLIO);
      file.writeSync(bytes.subarray(200 * PAGE, 201 * PAGE), 200 * PAGE);
      file.writeSync(bytes.subarray(FOLIO + 200 * PAGE, FOLIO + 201 * PAGE), FOLIO + 200 * PAGE);
      expect(Buffer.compare(window.bytes, bytes)).toBe(0);
      expect(window.lost).toBeNull();
    }
    made.remount();
    expect(Buffer.compare(made.volume.readFileSync("/file"), bytes)).toBe(0);
    expect(made.closeAndCheck()).toBe("");
  });
});
