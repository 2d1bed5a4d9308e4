// Damage: from the places of metadata and a seed, a list of images that each differ from the undamaged one
// in a few bytes of one structure.

import { type Field, KINDS, type Kind, type Place } from "./places.ts";
import { type Random, randomFrom } from "../support/random.ts";

export interface Patch {
  readonly byte: number;
  readonly bytes: Uint8Array;
}

/** One damaged image. */
export interface Damaged {
  /** Its number: with the image's shape it names the damage for good. */
  readonly number: number;
  readonly kind: Kind;
  /** What was done, for people. */
  readonly story: string;
  /** The inode whose structure was damaged, or null when any may have suffered. */
  readonly owner: number | null;
  readonly patches: readonly Patch[];
}

interface Change {
  readonly what: string;
  readonly patches: readonly Patch[];
}

type Method = (image: Uint8Array, place: Place, random: Random, all: readonly Place[]) => Change;

function flipBit(image: Uint8Array, place: Place, random: Random): Change {
  const byte = place.byte + random.below(place.length);
  const bit = random.below(8);
  const patches = [{ byte, bytes: Uint8Array.of((image[byte] as number) ^ (1 << bit)) }];
  return { what: `bit ${bit} of byte +${byte - place.byte} flipped`, patches };
}

function scramble(image: Uint8Array, place: Place, random: Random): Change {
  const count = 1 + random.below(6);
  const patches = Array.from({ length: count }, () => {
    const byte = place.byte + random.below(place.length);
    return { byte, bytes: Uint8Array.of((image[byte] as number) ^ (1 + random.below(255))) };
  });
  const where = patches.map(({ byte }) => `+${byte - place.byte}`).join(" ");
  return { what: `random bytes at ${where}`, patches };
}

/** Values that a field may turn out to be trusted with: limits, neighbours, loops, special numbers. */
function telling(image: Uint8Array, place: Place, old: number, random: Random): number {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const blocks = view.getUint32(1024 + 4, true);
  const blockSize = 1024 << view.getUint32(1024 + 0x18, true);
  const own = Math.floor(place.byte / blockSize);
  return random.pick([
    0,
    1,
    2,
    7,
    8,
    11,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffffff,
    0x80000000,
    0xfffffffe,
    0xffffffff,
    old + 1,
    old - 1,
    old * 2,
    old ^ 1,
    random.below(2 ** 32),
    random.below(blocks),
    blocks,
    blocks - 1,
    own,
    own + 1,
    blockSize,
    blockSize - 8,
    0xf30a,
  ]);
}

function fieldBytes(value: number, { size }: Field): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return bytes.slice(0, size);
}

function setField(image: Uint8Array, place: Place, random: Random): Change {
  const field = random.pick(place.fields);
  const byte = place.byte + field.offset;
  const old = Buffer.from(image.buffer, image.byteOffset + byte).readUIntLE(
    0,
    Math.min(field.size, 4),
  );
  const value = telling(image, place, old, random);
  const bytes = fieldBytes(value, field);
  const what = `field +${field.offset} of ${field.size} bytes from ${old} to 0x${Buffer.from(bytes).reverse().toString("hex")}`;
  return { what, patches: [{ byte, bytes }] };
}

function setFields(image: Uint8Array, place: Place, random: Random): Change {
  const changes = [setField(image, place, random), setField(image, place, random)];
  return {
    what: changes.map(({ what }) => what).join(", "),
    patches: changes.flatMap(({ patches }) => patches),
  };
}

/** As a write that went to the wrong place leaves it. */
function misdirect(image: Uint8Array, place: Place, random: Random, all: readonly Place[]): Change {
  const other = random.pick(all);
  const length = Math.min(place.length, image.length - other.byte);
  const bytes = image.slice(other.byte, other.byte + length);
  const what = `overwritten with the ${other.kind} at byte ${other.byte}`;
  return { what, patches: [{ byte: place.byte, bytes }] };
}

function fill(_image: Uint8Array, place: Place, random: Random): Change {
  const start = random.pick([0, 0, random.below(place.length)]);
  const bytes = new Uint8Array(place.length - start);
  const how = random.pick(["zeroes", "ones", "noise"]);
  if (how !== "zeroes") {
    for (let at = 0; at < bytes.length; at++) bytes[at] = how === "ones" ? 255 : random.below(256);
  }
  return {
    what: `${how} from +${start} to the end`,
    patches: [{ byte: place.byte + start, bytes }],
  };
}

/** Fields come up most often: structural checks are what is on trial. */
const METHODS: readonly Method[] = [
  setField,
  setField,
  setField,
  setField,
  setField,
  setFields,
  flipBit,
  flipBit,
  scramble,
  misdirect,
  fill,
];

function differs(image: Uint8Array, patches: readonly Patch[]): boolean {
  return patches.some(({ byte, bytes }) => bytes.some((value, at) => image[byte + at] !== value));
}

/** How often each kind is damaged: by how much there is in it to go wrong. */
const SHARES: Record<Kind, number> = {
  superblock: 3,
  "group descriptor": 3,
  "block bitmap": 1,
  "inode bitmap": 1,
  inode: 8,
  "extent block": 6,
  "indirect block": 6,
  "directory block": 6,
  "hash tree root": 4,
  "hash tree node": 4,
  "symlink block": 1,
  "attribute block": 2,
};

/** `count` damaged images, every kind that the image has among them. */
export function damagedImages(
  image: Uint8Array,
  places: readonly Place[],
  count: number,
  seed: number,
): Damaged[] {
  const byKind = new Map(KINDS.map((kind) => [kind, places.filter((p) => p.kind === kind)]));
  const deck = KINDS.flatMap((kind) =>
    byKind.get(kind)?.length === 0 ? [] : Array<Kind>(SHARES[kind]).fill(kind),
  );
  return Array.from({ length: count }, (_, number) => {
    const random = randomFrom(seed + number);
    const kind = deck[number % deck.length] as Kind;
    for (;;) {
      const place = random.pick(byKind.get(kind) as Place[]);
      const { what, patches } = random.pick(METHODS)(image, place, random, places);
      if (!differs(image, patches)) continue;
      const owner = place.owner === null ? "" : ` of inode ${place.owner}`;
      const story = `${kind}${owner} at byte ${place.byte}: ${what}`;
      return { number, kind, story, owner: place.owner, patches };
    }
  });
}
