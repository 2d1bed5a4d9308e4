/**
 * Names of extended attributes: the format numbers their prefixes and stores the rest.
 *
 * Source: Linux Documentation/filesystems/ext4/attributes.rst, "Attribute Name Indices".
 */
import { HoldfastError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import { ATTRIBUTE_NAME_BYTES_MAX } from "../../../iomap/contract.ts";
import type { StoredAttribute } from "./area.ts";

const INDEX_ACL_ACCESS = 2;
const INDEX_ACL_DEFAULT = 3;

/** Prefixes, whose rest is not empty; and whole names. Others that the format numbers nobody can ask for. */
const PREFIXES: readonly (readonly [number, string])[] = [
  [1, "user."],
  [4, "trusted."],
  [6, "security."],
];
const WHOLE_NAMES: readonly (readonly [number, string])[] = [
  [INDEX_ACL_ACCESS, "system.posix_acl_access"],
  [INDEX_ACL_DEFAULT, "system.posix_acl_default"],
];

/** A name as it is stored. */
export type StoredName = Pick<StoredAttribute, "index" | "name">;

/** Whether the value is an access control list, which has a form of its own here (acl.ts). */
export function isAclIndex(index: number): boolean {
  return index === INDEX_ACL_ACCESS || index === INDEX_ACL_DEFAULT;
}

/** Throws: EOPNOTSUPP for a prefix that the format has no number for, EINVAL for a prefix alone. */
export function storedName(name: Uint8Array): StoredName {
  invariant(
    name.length <= ATTRIBUTE_NAME_BYTES_MAX,
    "an attribute's name is too long to be stored",
  );
  const text = Buffer.from(name).toString("latin1");
  for (const [index, whole] of WHOLE_NAMES) {
    if (text === whole) return { index, name: new Uint8Array(0) };
  }
  for (const [index, prefix] of PREFIXES) {
    if (!text.startsWith(prefix)) continue;
    if (text === prefix) {
      throw new HoldfastError("EINVAL", `an attribute's name goes on after "${prefix}"`);
    }
    return { index, name: name.subarray(prefix.length) };
  }
  const prefixes = [...PREFIXES, ...WHOLE_NAMES].map(([, prefix]) => prefix).join(", ");
  throw new HoldfastError("EOPNOTSUPP", `attributes are named ${prefixes}`);
}

/** The whole name, or null for one that nobody can ask for. */
export function wholeName({ index, name }: StoredName): Uint8Array | null {
  const known = [...PREFIXES, ...WHOLE_NAMES].find(([each]) => each === index);
  return known === undefined ? null : Buffer.concat([Buffer.from(known[1], "latin1"), name]);
}

export function isSameName(a: StoredName, b: StoredName): boolean {
  return a.index === b.index && Buffer.compare(a.name, b.name) === 0;
}
