// SPDX-License-Identifier: Apache-2.0
/**
 * Little-endian kernel structs as tables of fields. `encode` fills every byte that is not named with zero and accepts any
 * value of a field's width, so that a test can send a malformed struct as easily as a good one.
 */

/** One field at a fixed byte offset. */
export interface Field<T> {
  readonly offset: number
  readonly size: number
  get(view: DataView): T
  set(view: DataView, value: T): void
}

type Fields = Readonly<
  Record<string, Field<number> | Field<bigint> | Field<Uint8Array> | Field<readonly bigint[]>>
>
type Values<F extends Fields> = { -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** A struct of a fixed size. */
export interface Struct<F extends Fields> {
  /** Bytes, as in the size part of its ioctl numbers. */
  readonly size: number
  /** Its fields; their offsets are for tests that poke at reserved bytes. */
  readonly fields: F
  /** The bytes of the struct; fields left out are zero. RangeError where a value does not fit its field. */
  encode(values: Partial<Values<F>>): Uint8Array
  /** A copy of the bytes in which these fields are replaced. RangeError as `encode` and `decode`. */
  patch(bytes: Uint8Array, values: Partial<Values<F>>): Uint8Array
  /** The fields of the bytes. RangeError where they are too short. */
  decode(bytes: Uint8Array): Values<F>
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const U64_MAX = 0xffff_ffff_ffff_ffffn

function checkNumber(value: number, bits: 8 | 16 | 32): void {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits)
    throw new RangeError(`${value} does not fit a u${bits} field`)
}

function checkBigint(value: bigint): void {
  if (value < 0n || value > U64_MAX) throw new RangeError(`${value} does not fit a u64 field`)
}

/** A __u8 at a byte offset. */
export function u8(offset: number): Field<number> {
  const set = (view: DataView, value: number): void => {
    checkNumber(value, 8)
    view.setUint8(offset, value)
  }
  return { offset, size: 1, get: (view) => view.getUint8(offset), set }
}

/** A __u16 at a byte offset. */
export function u16(offset: number): Field<number> {
  const set = (view: DataView, value: number): void => {
    checkNumber(value, 16)
    view.setUint16(offset, value, true)
  }
  return { offset, size: 2, get: (view) => view.getUint16(offset, true), set }
}

/** A __u32 at a byte offset. */
export function u32(offset: number): Field<number> {
  const set = (view: DataView, value: number): void => {
    checkNumber(value, 32)
    view.setUint32(offset, value, true)
  }
  return { offset, size: 4, get: (view) => view.getUint32(offset, true), set }
}

/** A __u64 at a byte offset. */
export function u64(offset: number): Field<bigint> {
  const set = (view: DataView, value: bigint): void => {
    checkBigint(value)
    view.setBigUint64(offset, value, true)
  }
  return { offset, size: 8, get: (view) => view.getBigUint64(offset, true), set }
}

/** An array of `count` __u64 at a byte offset; encoding fewer leaves the rest zero. */
export function u64s(offset: number, count: number): Field<readonly bigint[]> {
  const items = Array.from({ length: count }, (_, index) => u64(offset + 8 * index))
  const set = (view: DataView, values: readonly bigint[]): void => {
    if (values.length > count) throw new RangeError(`${values.length} values for an array of ${count}`)
    for (const [index, value] of values.entries()) items[index]?.set(view, value)
  }
  return { offset, size: 8 * count, get: (view) => items.map((item) => item.get(view)), set }
}

/** `size` raw bytes at a byte offset; reading copies. */
export function raw(offset: number, size: number): Field<Uint8Array> {
  const window = (view: DataView) => new Uint8Array(view.buffer, view.byteOffset + offset, size)
  const set = (view: DataView, value: Uint8Array): void => {
    if (value.length > size) throw new RangeError(`${value.length} bytes for a field of ${size}`)
    window(view).set(value)
  }
  return { offset, size, get: (view) => window(view).slice(), set }
}

/** Defines a struct of `size` bytes. */
export function struct<F extends Fields>(size: number, fields: F): Struct<F> {
  const entries = Object.entries(fields) as [string, Field<unknown>][]
  const checked = (bytes: Uint8Array): Uint8Array => {
    if (bytes.length >= size) return bytes
    throw new RangeError(`a struct of ${size} bytes cannot be decoded from ${bytes.length}`)
  }
  const put = (bytes: Uint8Array, values: Partial<Values<F>>): Uint8Array => {
    const view = viewOf(bytes)
    for (const [name, value] of Object.entries(values)) {
      const field = fields[name] as Field<unknown> | undefined
      if (value !== undefined) field?.set(view, value)
    }
    return bytes
  }
  return {
    size,
    fields,
    encode: (values) => put(new Uint8Array(size), values),
    patch: (bytes, values) => put(checked(bytes).slice(0, size), values),
    decode(bytes) {
      const view = viewOf(checked(bytes))
      return Object.fromEntries(entries.map(([name, field]) => [name, field.get(view)])) as Values<F>
    },
  }
}

/** The fields of a struct as a plain object. */
export type StructValues<S> = S extends Struct<infer F> ? Values<F> : never
