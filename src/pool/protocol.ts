// SPDX-License-Identifier: Apache-2.0
import type { Splat } from '../splats/index.js'
import type { RecordedError, TestResult } from '../testing/lifecycle.js'
import type { BenchLimits, BenchName, BenchResults } from './bench.js'

export type { RecordedError, TestResult } from '../testing/lifecycle.js'

/**
 * What the host and the worker in the guest say to each other, beside vitest's own messages, which travel inside
 * `vitest`. The host keeps every test's result as it comes (the ledger), so that a kernel that dies loses none.
 */
export type HostMessage =
  /** A saved VM was restored (or a cold one came up): become unique, then answer `awake`. */
  | {
      readonly type: 'wake'
      readonly entropy: Uint8Array
      readonly realtimeNs: bigint
      /** The host's time for the work that the guest calibrates with. */
      readonly hostCalibrationMs: number
      readonly env: Readonly<Record<string, string>>
    }
  /** Files of another kernel with the same bzImage: put them there, and load KVM again. The answer is `exchanged`. */
  | {
      readonly type: 'exchange'
      /** `deflated`: as zlib's deflateRaw() leaves it. */
      readonly files: readonly { readonly path: string; readonly deflated: Uint8Array }[]
    }
  /** An `exchange` will come: unload KVM, and say what the files are, which takes a while. The answer is `kvm-unloaded`. */
  | { readonly type: 'unload-kvm'; readonly paths: readonly string[] }
  /** What is already known of the file that the next `run` is about. */
  | {
      readonly type: 'ledger'
      readonly policy: TroublePolicy
      readonly entries: readonly (readonly [string, LedgerEntry])[]
    }
  | { readonly type: 'vitest'; readonly message: unknown }
  /** What vitest in the guest will ask its host; comes behind the `run` that it belongs to. */
  | { readonly type: 'ahead'; readonly answer: ModuleAnswer }
  /** What is typed for `gmem shell`, null at its end; the first one starts the prompt. `columns`: null where there is no terminal. */
  | { readonly type: 'shell-input'; readonly data: string | null; readonly columns: number | null }
  | { readonly type: 'probe' }
  | { readonly type: 'bench'; readonly name: BenchName; readonly limits: BenchLimits }

export type GuestMessage =
  /** The worker is loaded; the VM may be saved now. */
  | { readonly type: 'hello' }
  /** `slowdown`: how many times slower than the host the guest is; what its time limits are multiplied by. */
  | { readonly type: 'awake'; readonly release: string; readonly slowdown: number }
  /** `error`: '' where KVM is the new one. */
  | { readonly type: 'exchanged'; readonly error: string }
  /** `error`: '' where KVM is out. `digests`: SHA-256, hex, of those of the paths that are files. */
  | {
      readonly type: 'kvm-unloaded'
      readonly error: string
      readonly digests: Readonly<Record<string, string>>
    }
  | { readonly type: 'vitest'; readonly message: unknown }
  /** `logTimeUs`: where the kernel's log stood, by its own clock: what the console has from later on is this test's. */
  | { readonly type: 'test-start'; readonly test: TestIdentity; readonly logTimeUs: number }
  | {
      readonly type: 'test-end'
      readonly test: TestIdentity
      readonly result: TestResult
      readonly replaceVm: boolean
    }
  /** What the kernel has counted while the test ran. */
  | { readonly type: 'coverage'; readonly test: TestIdentity; readonly objects: readonly ObjectCounters[] }
  /** The kernel complained outside a test's window; the test that it belongs to has its result already. */
  | {
      readonly type: 'late-splat'
      readonly testId: string
      readonly error: RecordedError
      readonly splats: readonly Splat[]
    }
  /** The file as a whole left something behind that is not looked for after each test. */
  | { readonly type: 'file-leak'; readonly what: string }
  /** Modules of the kernel came or went, or a setting is not what it was: the next file gets another VM. */
  | { readonly type: 'kernel-changed' }
  /** The guest's event loop is alive. */
  | { readonly type: 'heartbeat' }
  | { readonly type: 'shell-output'; readonly data: string }
  | { readonly type: 'shell-exit' }
  | { readonly type: 'probe'; readonly probe: unknown }
  | { readonly type: 'bench-step'; readonly what: string }
  | { readonly type: 'bench-result'; readonly result: BenchResults[BenchName] | null; readonly error: string }

/** The messages of a type. */
export type GuestMessageOf<T extends GuestMessage['type']> = Extract<GuestMessage, { type: T }>

/** What one object file of the kernel has counted. */
export interface ObjectCounters {
  /** Its name without folder and ending: `guest_memfd`. */
  readonly object: string
  /** A .gcda file. */
  readonly counters: Uint8Array
}

/** A test, by the names that a person and vitest use. */
export interface TestIdentity {
  /** vitest's task id: stable for one file content and position. */
  readonly id: string
  /** File relative to the project root. */
  readonly file: string
  /** Suite and test names joined by ` > `. */
  readonly name: string
  /** The test's own time limit, in ms. */
  readonly timeoutMs: number
}

/**
 * What a fresh VM is told about a test: its result; that an earlier attempt killed the kernel (`retry`); or that it failed in a VM in which
 * other files had run (`doubt`).
 */
export type LedgerEntry =
  | { readonly kind: 'finished'; readonly result: TestResult }
  | {
      readonly kind: 'retry' | 'doubt'
      readonly earlier: RecordedError
      readonly meta: NonNullable<TestResult['meta']>
    }

/** A question of vitest's module runner to its host (birpc). `a`: URL, importer, environment, options. */
export interface ModuleQuestion {
  readonly t: 'q'
  readonly i: string
  readonly m: ModuleAnswer['method']
  readonly a: readonly unknown[]
}

/** The answer to a question of vitest's module runner: where a file is (`resolve`), or its transformed code (`fetch`). */
export interface ModuleAnswer {
  readonly method: 'resolve' | 'fetch'
  readonly url: string
  readonly environment: string
  readonly value: unknown
}

export interface TroublePolicy {
  /** `fail`: a splat fails its test; `warn`: it is only shown; `off`: the log is not read. */
  readonly splats: 'fail' | 'warn' | 'off'
  /** Text of the allow file, '' for none. */
  readonly allow: string
  /** `quick`: descriptors, threads and VMs after each test, a DeepCensus after each file; `thorough`: all after each test. */
  readonly leaks: 'off' | 'quick' | 'thorough'
  /** The VM is about to be saved: whatever is found, it stays. */
  readonly rehearsal?: boolean
  /** Other files have run in this VM: a failure in it is no verdict yet. */
  readonly isUsedVm?: boolean
}
