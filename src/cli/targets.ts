// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from 'node:fs'
import { release } from 'node:os'
import type { PoolRunnerInitializer, UserWorkspaceConfig } from 'vitest/node'
import { usageError } from '../errors.js'
import { resolveKernel } from '../kernels/index.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import { compiledApi } from '../pool/compiled-api.js'
import type { KernelPool, StandbyVms } from '../pool/index.js'
import type { CoverageSink, KernelPoolOptions } from '../pool/options.js'
import type { TargetEvent, TargetInfo } from '../report/events.js'
import type { CliContext } from './context.js'
import { SLOW_FILE, TEST_FOLDER } from './test-files.js'

export const KVM_DEVICE = '/dev/kvm'
/** Tests of src/testing bring their own, scaled limit, in ms; this one is for a plain vitest test. */
const TEST_TIMEOUT_MS = 30_000

/** What is asked of every target of a run. */
export interface TargetOptions {
  readonly accelerator: 'auto' | 'kvm' | 'tcg'
  readonly runDir: string
  readonly seed: number
  readonly cold: boolean
  readonly freshVms: boolean
  readonly exchangeKvm?: boolean
  /** More kernel parameters for VMs. */
  readonly append?: string | undefined
  readonly splats: 'fail' | 'warn' | 'off'
  readonly leaks: 'fail' | 'off'
  /** Text of the allow file, '' for none. */
  readonly allow: string
  readonly retries: number
  /** Slow families too. */
  readonly all: boolean
  /** Time limits are multiplied by it; measured where absent. */
  readonly slowdown?: number | undefined
  readonly onEvent: (id: string, event: TargetEvent) => void
  /** What runs in place of the contract. */
  readonly programs?: TestPrograms
  /** Called with what the kernel counted during each test; for kernels of the gcov flavour. */
  readonly onCoverage?: CoverageSink
}

/** Programs that are run, each as a test. */
export interface TestPrograms {
  /** Where they are; the guest gets them at the same path. */
  readonly folder: string
  /** The folder of the tests that run them, relative to the project root. */
  readonly tests: string
}

/** A kernel under test, ready to become a vitest project. */
export interface Target {
  readonly info: TargetInfo
  /** Null for the host. */
  readonly kernel: KernelImage | null
  readonly project: UserWorkspaceConfig
  /** Settles when the first VM needs nothing more of this process for a while: the time to load vitest. */
  readonly underWay: Promise<void>
  /** Ends what the target still runs; vitest must be closed. */
  close(): Promise<void>
}

/** A kernel that is built and can be booted, and what -k called it. */
export interface NamedKernel {
  readonly spec: string
  readonly kernel: KernelImage
}

/** Finds, and builds where needed, the kernels of a run. Throws a GmemError where one is not to be had, or two have one name. */
export async function findKernels(specs: readonly string[], context: CliContext): Promise<NamedKernel[]> {
  const { progress, signal } = context
  const found: NamedKernel[] = []
  for (const spec of new Set(specs)) {
    const kernel = await resolveKernel(spec, { build: true, progress, signal })
    const twin = found.find((other) => other.kernel.id === kernel.id)
    if (twin)
      throw usageError(`-k ${spec} and -k ${twin.spec} are both called ${kernel.id}: run them one by one`)
    found.push({ spec, kernel })
  }
  progress.end()
  return found
}

/** The target that a kernel is: it boots in a VM. Its first VM starts to come up here, before vitest is even loaded. */
export async function kernelTarget(
  { spec, kernel }: NamedKernel,
  options: TargetOptions,
  standby?: StandbyVms,
): Promise<Target> {
  const { createKernelPool } = await import('../pool/index.js')
  const pool = createKernelPool({
    ...poolOptions(kernel, options),
    ...(standby && { standby }),
    warmUp: true,
  })
  return {
    info: { id: kernel.id, kernel: spec, release: kernel.release },
    kernel,
    project: projectConfig(kernel.id, pool, testEnvironment(kernel.id, options), options),
    underWay: pool.underWay,
    close: async () => await pool.close(),
  }
}

/** A pool that only brings up VMs for a kernel that is like this one but for its KVM modules. */
export async function standbyPool({ kernel }: NamedKernel, options: TargetOptions): Promise<KernelPool> {
  const { createKernelPool } = await import('../pool/index.js')
  // Cold: to save a VM now would take longer than all that this is to save.
  const only = { cold: true, exchangeKvm: true, consoles: 'early-', onEvent: () => {} }
  return createKernelPool({ ...poolOptions(kernel, options), ...only })
}

function poolOptions(kernel: KernelImage, options: TargetOptions): KernelPoolOptions {
  return {
    kernel,
    env: testEnvironment(kernel.id, options),
    accelerator: options.accelerator,
    runDir: options.runDir,
    cold: options.cold,
    freshVms: options.freshVms,
    exchangeKvm: options.exchangeKvm ?? false,
    ...(options.append !== undefined && { append: options.append }),
    splats: options.splats,
    allow: options.allow,
    leaks: options.leaks === 'fail',
    retries: options.retries,
    ...(options.slowdown === undefined ? {} : { slowdown: options.slowdown }),
    onEvent: (event) => options.onEvent(kernel.id, event),
    ...(options.onCoverage && { onCoverage: options.onCoverage }),
    ...(options.programs && { extraFiles: [options.programs.folder] }),
  }
}

/** The target that the running kernel is: no VM. Ask hostProblem() first. */
export function hostTarget(options: TargetOptions): Target {
  const info = { id: 'host', kernel: 'host', release: release() }
  return {
    info,
    kernel: null,
    project: projectConfig(info.id, 'forks', testEnvironment(info.id, options), options),
    underWay: Promise.resolve(),
    close: async () => {},
  }
}

/** Why /dev/kvm cannot be used, found by opening it, and what to do; null where it can. */
export function hostProblem(): { message: string; hint: string } | null {
  try {
    closeSync(openSync(KVM_DEVICE, 'r+'))
    return null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') {
      return {
        message: `there is no ${KVM_DEVICE} on this machine`,
        hint: 'Load the module (modprobe kvm_amd, or kvm_intel), or switch nested virtualization on; `gmem test` without --host needs none.',
      }
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return {
        message: `${KVM_DEVICE} may not be opened by this user (${code})`,
        hint: 'Join the group that owns it (usermod -aG kvm $USER, then log in again), or run as root.',
      }
    }
    return {
      message: `${KVM_DEVICE} cannot be opened: ${code}`,
      hint: '`gmem doctor` tries more and says what it saw.',
    }
  }
}

function projectConfig(
  name: string,
  pool: 'forks' | PoolRunnerInitializer,
  env: Record<string, string>,
  { all, programs }: TargetOptions,
): UserWorkspaceConfig {
  return {
    root: projectRoot,
    optimizeDeps: { noDiscovery: true, include: [] },
    resolve: { alias: compiledApi },
    test: {
      name,
      pool,
      env,
      include: [`${programs?.tests ?? TEST_FOLDER}/**/*.test.ts`],
      exclude: all ? [] : [`**/*${SLOW_FILE}`],
      environment: 'node',
      includeTaskLocation: false,
      testTimeout: TEST_TIMEOUT_MS,
      hookTimeout: TEST_TIMEOUT_MS,
      // What the guest's worker has loaded when its VM is saved must be the very same modules that tests import.
      server: { deps: { external: [/\/dist\//] } },
    },
  }
}

function testEnvironment(id: string, options: TargetOptions): Record<string, string> {
  return {
    GMEM_TARGET: id,
    GMEM_SEED: String(options.seed),
    ...(options.onCoverage && { GMEM_COVERAGE: '1' }),
    ...(options.programs && { GMEM_SELFTESTS: options.programs.folder }),
    ...(options.slowdown === undefined ? {} : { GMEM_SLOWDOWN: String(options.slowdown) }),
  }
}
