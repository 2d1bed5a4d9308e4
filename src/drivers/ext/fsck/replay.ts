/** A journal that waits to be replayed is replayed over the device in memory: the check sees what a mount would. */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { LogDevice } from "../jbd2/log.ts";
import { findJournal } from "../jbd2/open.ts";
import { Recovery } from "../jbd2/recovery.ts";
import type { SuperblockFacts } from "../superblock.ts";
import type { Findings } from "./findings.ts";
import type { CheckedDevice } from "./reader.ts";

/** A device with newer blocks in memory. Reads and writes are of whole blocks, or lie in one. */
class ReplayedDevice implements CheckedDevice, LogDevice {
  readonly size: number;
  readonly #device: CheckedDevice;
  readonly #blockSize: number;
  readonly #newer = new Map<number, Uint8Array>();

  constructor(device: CheckedDevice, blockSize: number) {
    this.size = device.size;
    this.#device = device;
    this.#blockSize = blockSize;
  }

  copyOut(at: number, target: Uint8Array): void {
    const inBlock = at % this.#blockSize;
    const newer = this.#newer.get((at - inBlock) / this.#blockSize);
    if (newer === undefined) this.#device.copyOut(at, target);
    else target.set(newer.subarray(inBlock, inBlock + target.length));
  }

  copyIn(at: number, source: Uint8Array): void {
    this.#newer.set(at / this.#blockSize, source.slice());
  }
}

/**
 * The device with its journal replayed over it; null, and a note or a finding that says why, where that cannot
 * be.
 */
export function replayInMemory(
  device: CheckedDevice,
  facts: SuperblockFacts,
  findings: Findings,
): CheckedDevice | null {
  const replayed = new ReplayedDevice(device, facts.blockSize);
  try {
    const journal = findJournal(facts, replayed);
    if (journal.state.start !== 0) {
      const recovery = new Recovery(facts, journal, replayed, device.size);
      if (recovery.passedOver !== null) {
        findings.notice("fast-commits", `the journal is replayed in part: ${recovery.passedOver}`);
      }
      recovery.inMemory(replayed);
    }
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error instanceof CorruptionError) {
      const { structure, field, value, expected, deviceByte = null } = error.damage;
      const found = { structure, field, expected, deviceByte, value: String(value) };
      const text = `the journal cannot be replayed: ${structure}: ${field} is ${value}, ${expected}`;
      findings.add("journal-log", { ...found, text });
    } else {
      findings.notice("journal-not-known", `the journal cannot be replayed: ${error.message}`);
    }
    return null;
  }
  findings.notice(
    "journal-replayed",
    "the journal was replayed in memory; what is checked is the volume as a mount finds it",
  );
  return replayed;
}
