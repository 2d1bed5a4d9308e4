/**
 * On-disk structures as tables with literal offsets, checked when the module is loaded: no field
 * overlaps another, none lies outside, and every byte is named (padding too).
 *
 *     export const DiskExtent = struct("ext4_extent", { endian: "little", size: 12 }, {
 *       fileBlock: u32(0), // first file block covered
 *       ...
 *     });
 *     DiskExtent.fileBlock.get(view, at);
 */
import { invariant } from "./invariant.ts";

export type Endian = "little" | "big";

/** An integer field. `get` and `set` take the structure's first byte in `view`. */
export interface IntegerField {
  readonly offset: number;
  readonly size: number;
  get(view: DataView, at: number): number;
  set(view: DataView, at: number, value: number): void;
}

/** A field of raw bytes: names, uuids, padding. */
export interface BytesField {
  readonly offset: number;
  readonly size: number;
  readonly bytes: true;
}

export type Field = IntegerField | BytesField;
type FieldMaker<F extends Field> = (littleEndian: boolean) => F;

class U8 implements IntegerField {
  readonly size = 1;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getUint8(at + this.offset);
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint8(at + this.offset, value);
  }
}

// A class for each order of bytes: a field's `get` is compiled to one load.

class U16Little implements IntegerField {
  readonly size = 2;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getUint16(at + this.offset, true);
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint16(at + this.offset, value, true);
  }
}

class U16Big implements IntegerField {
  readonly size = 2;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getUint16(at + this.offset, false);
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint16(at + this.offset, value, false);
  }
}

class U32Little implements IntegerField {
  readonly size = 4;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getUint32(at + this.offset, true);
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value, true);
  }
}

class U32Big implements IntegerField {
  readonly size = 4;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getUint32(at + this.offset, false);
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, value, false);
  }
}

class S32Little implements IntegerField {
  readonly size = 4;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getInt32(at + this.offset, true);
  }
  set(view: DataView, at: number, value: number): void {
    view.setInt32(at + this.offset, value, true);
  }
}

class S32Big implements IntegerField {
  readonly size = 4;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return view.getInt32(at + this.offset, false);
  }
  set(view: DataView, at: number, value: number): void {
    view.setInt32(at + this.offset, value, false);
  }
}

/** A 64-bit field read as a number; values above 2^53 - 1 come back as inexact, so verify them. */
class U64Little implements IntegerField {
  readonly size = 8;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return (
      view.getUint32(at + this.offset + 4, true) * 2 ** 32 + view.getUint32(at + this.offset, true)
    );
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset + 4, Math.floor(value / 2 ** 32), true);
    view.setUint32(at + this.offset, value % 2 ** 32, true);
  }
}

/** As `U64Little`. */
class U64Big implements IntegerField {
  readonly size = 8;
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
  get(view: DataView, at: number): number {
    return (
      view.getUint32(at + this.offset, false) * 2 ** 32 +
      view.getUint32(at + this.offset + 4, false)
    );
  }
  set(view: DataView, at: number, value: number): void {
    view.setUint32(at + this.offset, Math.floor(value / 2 ** 32), false);
    view.setUint32(at + this.offset + 4, value % 2 ** 32, false);
  }
}

export const u8 =
  (offset: number): FieldMaker<IntegerField> =>
  () =>
    new U8(offset);
export const u16 =
  (offset: number): FieldMaker<IntegerField> =>
  (little) =>
    little ? new U16Little(offset) : new U16Big(offset);
export const u32 =
  (offset: number): FieldMaker<IntegerField> =>
  (little) =>
    little ? new U32Little(offset) : new U32Big(offset);
export const s32 =
  (offset: number): FieldMaker<IntegerField> =>
  (little) =>
    little ? new S32Little(offset) : new S32Big(offset);
export const u64 =
  (offset: number): FieldMaker<IntegerField> =>
  (little) =>
    little ? new U64Little(offset) : new U64Big(offset);
export const bytes =
  (offset: number, size: number): FieldMaker<BytesField> =>
  () => ({ offset, size, bytes: true });

export type Struct<Fields extends Record<string, FieldMaker<Field>>> = {
  readonly [Name in keyof Fields]: ReturnType<Fields[Name]>;
} & { readonly structure: { readonly name: string; readonly size: number } };

/**
 * Builds the table and checks it: fields in any order must cover `size` bytes exactly once.
 * Throws: InvariantError at import, naming the field, when they do not.
 */
export function struct<Fields extends Record<string, FieldMaker<Field>>>(
  name: string,
  shape: { readonly endian: Endian; readonly size: number },
  makers: Fields,
): Struct<Fields> {
  const table: Record<string, Field> = {};
  for (const [field, maker] of Object.entries(makers)) {
    table[field] = maker(shape.endian === "little");
  }
  let end = 0;
  const ordered = Object.entries(table).sort(([, a], [, b]) => a.offset - b.offset);
  for (const [field, { offset, size }] of ordered) {
    invariant(offset >= end, () => `${name}.${field} at ${offset} overlaps the field before it`);
    invariant(
      offset <= end,
      () => `${name}: bytes ${end} to ${offset - 1} before ${field} have no name`,
    );
    end = offset + size;
  }
  invariant(end === shape.size, () => `${name} is ${shape.size} bytes, its fields end at ${end}`);
  return { ...table, structure: { name, size: shape.size } } as unknown as Struct<Fields>;
}
