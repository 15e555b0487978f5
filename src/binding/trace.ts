// SPDX-License-Identifier: Apache-2.0

/** Bytes as the trace keeps them: the first BYTES_KEPT of them, copied when the call was made. */
export interface TraceBytes {
  /** How many there were. */
  readonly length: number
  readonly head: Uint8Array
}

/** An object of the addon, by the name that `TraceEntry.object` gives it. */
export interface TraceObject {
  readonly object: string
}

export type TraceValue =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | TraceBytes
  | TraceObject
  | readonly TraceValue[]
  | { readonly [key: string]: TraceValue }

/** One call into the addon. Without `result` and `error` it has not come back (a vCPU that runs, or a kernel that died). */
export interface TraceEntry {
  /** Counts all calls of the process from 1. */
  readonly seq: number
  /** Milliseconds since the process started. */
  readonly atMs: number
  /** `vm#2`: the second VM of the process; null for the addon's own functions. */
  readonly object: string | null
  readonly call: string
  readonly args: readonly TraceValue[]
  result?: TraceValue
  error?: { readonly name: string; readonly code: string | number | undefined; readonly message: string }
}

const CAPACITY = 4096
const BYTES_KEPT = 256

/** The last CAPACITY calls into the addon. */
export class Trace {
  readonly #ring: TraceEntry[] = []
  #next = 0
  #seq = 0

  /** Forgets what was recorded so far. */
  start(): void {
    this.#ring.length = 0
    this.#next = 0
  }

  /** What was recorded since start, oldest first, and forgets it. Older calls than the last 4096 are gone: see `seq`. */
  take(): TraceEntry[] {
    const entries = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)]
    this.start()
    return entries
  }

  /** Notes a call that is about to be made; the caller adds its result or error. */
  begin(object: string | null, call: string, args: readonly unknown[], nameOf: NameOf): TraceEntry {
    this.#seq += 1
    const entry: TraceEntry = {
      seq: this.#seq,
      atMs: performance.now(),
      object,
      call,
      args: snapshots(args, nameOf),
    }
    if (this.#ring.length < CAPACITY) {
      this.#ring.push(entry)
    } else {
      this.#ring[this.#next] = entry
      this.#next = (this.#next + 1) % CAPACITY
    }
    return entry
  }
}

/** The trace's name of an object of the addon, or undefined for anything else. */
export type NameOf = (value: object) => string | undefined

/** Whether it can be kept as it is: nothing changes it later. */
export function isPlain(value: unknown): value is TraceValue {
  switch (typeof value) {
    case 'object':
      return value === null
    case 'function':
    case 'symbol':
      return false
    default:
      return true
  }
}

/** A copy that later writes to buffers do not change. */
export function snapshot(value: unknown, nameOf: NameOf): TraceValue {
  if (isPlain(value)) return value
  if (typeof value !== 'object' || value === null) return String(value)
  if (value instanceof Uint8Array) return { length: value.length, head: value.slice(0, BYTES_KEPT) }
  if (Array.isArray(value)) return value.map((element) => snapshot(element, nameOf))
  const object = nameOf(value)
  if (object !== undefined) return { object }
  const copy: Record<string, TraceValue> = {}
  for (const key of Object.keys(value)) copy[key] = snapshot((value as Record<string, unknown>)[key], nameOf)
  return copy
}

// Every call of every test comes here, and the guest's Node interprets: hence a loop, and the list itself where all of it is plain.
function snapshots(values: readonly unknown[], nameOf: NameOf): readonly TraceValue[] {
  let copy: TraceValue[] | null = null
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]
    if (isPlain(value)) continue
    copy ??= values.slice() as TraceValue[]
    copy[index] = snapshot(value, nameOf)
  }
  return copy ?? (values as readonly TraceValue[])
}

/** What of an error is worth keeping. */
export function describeError(error: unknown): NonNullable<TraceEntry['error']> {
  if (!(error instanceof Error)) return { name: 'unknown', code: undefined, message: String(error) }
  const code =
    'code' in error && (typeof error.code === 'string' || typeof error.code === 'number')
      ? error.code
      : undefined
  return { name: error.name, code, message: error.message }
}
