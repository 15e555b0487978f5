// SPDX-License-Identifier: Apache-2.0
import type { KernelImage } from '../kernels/types.js'
import type { Bytes } from '../units.js'
import type { ObjectCounters, TestIdentity } from './protocol.js'
import type { StandbyVms } from './standby.js'

/** How the tests of one kernel are run. */
export interface KernelPoolOptions {
  readonly kernel: KernelImage
  /** `auto` tries; the other two are orders. */
  readonly accelerator: 'auto' | 'kvm' | 'tcg'
  /** Folder of this run's artefacts; consoles are written here. */
  readonly runDir: string
  /** More kernel parameters, as on its command line. */
  readonly append?: string
  /** RAM of each VM; default DEFAULT_MEMORY. */
  readonly memory?: Bytes
  /** Boot every VM instead of restoring a saved one. */
  readonly cold?: boolean
  /** A VM of its own for every test file; otherwise one in which nothing failed, and that is as it was, takes the next file. */
  readonly freshVms?: boolean
  /** A VM that was saved with other KVM modules and the same bzImage will do: its copies get this kernel's. */
  readonly exchangeKvm?: boolean
  /** VMs that came up before this kernel was built: taken first, where they are what would be restored. */
  readonly standby?: StandbyVms
  /** What tells the names of this pool's consoles from those of another in `runDir`. */
  readonly consoles?: string
  readonly splats?: 'fail' | 'warn' | 'off'
  /** Text of the allow file. */
  readonly allow?: string
  /** Where the text comes from, for errors about it. */
  readonly allowFile?: string
  /** Whether a test that leaves kernel objects behind fails. */
  readonly leaks?: boolean
  /** How often a test that killed its kernel runs again in a fresh VM. */
  readonly retries?: number
  /** Time limits are multiplied by this; measured when the VM comes up where absent. */
  readonly slowdown?: number
  /** How long a guest may say nothing, in ms of its own time; 20 s to 35 s, by its slowdown, where absent. */
  readonly silenceMs?: number
  /** How long a file may go on without a test that begins or ends, in ms of the guest's own time; default 5 min. */
  readonly betweenTestsMs?: number
  /** Environment of the worker in the guest. */
  readonly env?: Readonly<Record<string, string>>
  /** Files and folders that the guest gets besides the worker, at the same absolute paths. */
  readonly extraFiles?: readonly string[]
  readonly onEvent?: (event: PoolEvent) => void
  /** Called with what the kernel counted during each test; the kernel must be one of the gcov flavour. */
  readonly onCoverage?: CoverageSink
}

export type CoverageSink = (test: TestIdentity, objects: readonly ObjectCounters[]) => void

/** What a target tells about itself while it runs. */
export type PoolEvent =
  | { readonly type: 'accelerator'; readonly accel: 'kvm' | 'tcg'; readonly why: string }
  | { readonly type: 'booted'; readonly ms: number; readonly restored: boolean }
  | { readonly type: 'progress'; readonly text: string }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'death'; readonly message: string; readonly test?: string; readonly console?: string }
