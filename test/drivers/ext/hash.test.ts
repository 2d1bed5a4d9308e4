// Name hashes against debugfs, which prints the hash and minor hash of a name.

import fc from "fast-check";
import { expect, test } from "vitest";
import { hashName, isHashVersion } from "../../../src/drivers/ext/directories/hash.ts";
import { runOk, skipUnless } from "../../support/tools.ts";

const seedUuid = "00112233-4455-6677-8899-aabbccddeeff";
const noUuid = "00000000-0000-0000-0000-000000000000";

/** The superblock's hash seed is a uuid's 16 bytes as four little-endian words. */
function seedOf(uuid: string): Uint32Array {
  const bytes = Buffer.from(uuid.replaceAll("-", ""), "hex");
  return Uint32Array.from({ length: 4 }, (_, index) => bytes.readUInt32LE(index * 4));
}

function hash(version: number, uuid: string, name: Uint8Array): { major: number; minor: number } {
  const result = { major: 0, minor: 0 };
  // In the middle of other bytes, as names lie in directory blocks.
  const around = Buffer.concat([Buffer.from("before"), name, Buffer.from("behind")]);
  hashName(version, seedOf(uuid), around, 6, name.length, result);
  return result;
}

// Found with debugfs 1.47.0: dx_hash -h VERSION -s SEED NAME
const vectors: [version: number, uuid: string, name: string, major: number, minor: number][] = [
  [0, seedUuid, "hello_world_this_is_a_long_name_of_many_bytes", 0x1bd40788, 0],
  [0, noUuid, "ö€x", 0x61270d42, 0],
  [1, seedUuid, "hello_world_this_is_a_long_name_of_many_bytes", 0x97644dfc, 0x10d5fd34],
  [1, noUuid, "ö€x", 0x3636a43e, 0xfc18506e],
  [2, seedUuid, "hello_world_this_is_a_long_name_of_many_bytes", 0xc690cdd8, 0x86a4581f],
  [2, noUuid, "ö€x", 0xf61963a0, 0xa15548fa],
];

test("names hash as debugfs says they do", () => {
  for (const [version, uuid, name, major, minor] of vectors) {
    expect(hash(version, uuid, Buffer.from(name)), `${version} ${name}`).toEqual({ major, minor });
  }
});

test("bytes above 127 hash differently signed and unsigned, others alike", () => {
  for (const version of [0, 1, 2]) {
    const plain = Buffer.from("plain");
    const high = Buffer.from("höher");
    expect(hash(version + 3, seedUuid, plain)).toEqual(hash(version, seedUuid, plain));
    expect(hash(version + 3, seedUuid, high)).not.toEqual(hash(version, seedUuid, high));
  }
});

test("versions 0 to 5 are known, others are not", () => {
  expect([-1, 0, 5, 6, 255].map(isHashVersion)).toEqual([false, true, true, false, false]);
});

skipUnless("debugfs")("any name hashes as debugfs says, in all six versions", () => {
  const character = fc.constantFrom(..."abcXYZ0189_-.äé€ÿ𝄞");
  const name = fc
    .string({ unit: character, minLength: 1, maxLength: 250 })
    .filter((text) => Buffer.byteLength(text) <= 255 && !text.startsWith("-"));
  const version = fc.integer({ min: 0, max: 5 });
  const uuid = fc.constantFrom(noUuid, seedUuid);
  fc.assert(
    fc.property(version, uuid, name, (version, uuid, name) => {
      const printed = runOk("debugfs", ["-R", `dx_hash -h ${version} -s ${uuid} ${name}`]);
      const [, major, minor] = /is 0x([0-9a-f]+) \(minor 0x([0-9a-f]+)\)/.exec(printed) ?? [];
      const expected = { major: parseInt(major ?? "", 16), minor: parseInt(minor ?? "", 16) };
      expect(hash(version, uuid, Buffer.from(name))).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});
