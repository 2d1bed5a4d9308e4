/**
 * Names that this thread has found, and what they stand for: a walk passes them without looking into the directory,
 * and without its lock.
 *
 * A name holds while the layout sequence of its directory stays: whoever changes the directory makes it another one,
 * and the record of another directory in its place has none of those that were here before (mapping.ts). ".." is
 * none of them.
 */
import type { Ino } from "../base/quantities.ts";
import type { Mapping } from "../mapping/mapping.ts";

/** Of both a power of 2. A name that falls on another one's slot takes it. */
const SLOTS = 4096;
const NAME_ROOM = 64;

export class NameCache {
  readonly #mappings = new Int32Array(SLOTS);
  readonly #sequences = new Int32Array(SLOTS);
  readonly #inos = new Float64Array(SLOTS);
  readonly #lengths = new Uint8Array(SLOTS);
  readonly #names = new Uint8Array(SLOTS * NAME_ROOM);

  /** What `name` stood for when the directory's sequence was `sequence`, or null: not known. */
  find(directory: Mapping, sequence: number, name: Uint8Array): Ino | null {
    const slot = slotOf(directory, name);
    if (this.#mappings[slot] !== directory || this.#sequences[slot] !== sequence) return null;
    if (this.#lengths[slot] !== name.length) return null;
    const names = this.#names;
    for (let index = 0, at = slot * NAME_ROOM; index < name.length; index++, at++) {
      if (names[at] !== name[index]) return null;
    }
    return this.#inos[slot] as Ino;
  }

  /** Notes what was found while the sequence was `sequence`. Locks: the directory's. */
  note(directory: Mapping, sequence: number, name: Uint8Array, ino: Ino): void {
    if (name.length > NAME_ROOM || (sequence & 1) !== 0) return;
    const slot = slotOf(directory, name);
    this.#mappings[slot] = directory;
    this.#sequences[slot] = sequence;
    this.#inos[slot] = ino;
    this.#lengths[slot] = name.length;
    this.#names.set(name, slot * NAME_ROOM);
  }
}

/** FNV-1a. */
function slotOf(directory: Mapping, name: Uint8Array): number {
  let hash = Math.imul(directory ^ 0x811c9dc5, 0x01000193);
  for (let index = 0; index < name.length; index++) {
    hash = Math.imul(hash ^ name[index]!, 0x01000193);
  }
  return (hash ^ (hash >>> 15)) & (SLOTS - 1);
}
