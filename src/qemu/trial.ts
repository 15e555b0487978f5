// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KernelImage } from '../kernels/types.js'
import { createTemporaryFolder } from '../temporary.js'
import { mib } from '../units.js'
import type { Accelerator } from './accelerator.js'
import { QMP_FD } from './arguments.js'
import { findQemu } from './binary.js'
import { readConsoleTail } from './exit.js'
import { compileGuestProgram } from './guest-init.js'
import { buildInitramfs } from './initramfs.js'
import { startMachine } from './machine.js'
import { spawnQemu } from './process.js'
import { QmpClient } from './qmp.js'

/**
 * `-cpu host`, and the same without IA32_ARCH_CAPABILITIES: on some software KVMs QEMU before 9 dies setting
 * that MSR ("failed to set MSR 0x10a").
 */
const HOST_CPUS = ['host', 'host,-arch-capabilities'] as const
const TRIAL_LIMIT_MS = 20_000
const TRIAL_MEMORY = mib(256)

/** What QEMU can get from the host's /dev/kvm. */
export type HostKvm =
  | { readonly cpu: string; readonly nested: boolean; readonly error: null }
  | { readonly cpu: null; readonly error: string; readonly nested: false }

/** How a VM in a VM went. */
export interface TrialResult {
  /** `unclear`: the trial's own VM did not get as far as trying. */
  readonly outcome: 'works' | 'refused' | 'unclear'
  readonly details: string
}

/**
 * Starts QEMU on the host's KVM, without running anything, and asks whether this KVM passes SVM or VMX on:
 * QEMU's answer is KVM_GET_SUPPORTED_CPUID's, not the processor's.
 */
export async function probeHostKvm(): Promise<HostKvm> {
  const full = await probeCpu(HOST_CPUS[0])
  return full.cpu === null ? await probeCpu(HOST_CPUS[1]) : full
}

async function probeCpu(cpu: string): Promise<HostKvm> {
  const { path } = await findQemu()
  const machine = ['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-m', '64', '-S']
  const monitor = ['-chardev', `socket,id=qmp,fd=${QMP_FD}`, '-mon', 'chardev=qmp,mode=control']
  const qemu = spawnQemu(path, [...machine, '-accel', 'kvm', '-cpu', cpu, ...monitor])
  const qmp = new QmpClient(qemu.qmp)
  try {
    await qmp.negotiate()
    const answer = await qmp.execute('query-cpu-model-expansion', { type: 'full', model: { name: 'host' } })
    const { props } = (answer as { model: { props: Record<string, unknown> } }).model
    return { cpu, nested: props.svm === true || props.vmx === true, error: null }
  } catch (error) {
    qemu.kill()
    const { stderrTail } = await qemu.ended
    const firstLine = stderrTail.trim().split('\n')[0]
    return { cpu: null, error: firstLine || (error as Error).message, nested: false }
  } finally {
    qemu.kill()
    await qemu.ended
  }
}

/**
 * Boots the kernel with a small program instead of Node that runs a VM of its own, and reads its answer off
 * the console.
 */
export async function bootTrial(
  kernel: Pick<KernelImage, 'bzImage' | 'release' | 'modulesDir'>,
  cacheDir: string,
  accelerator: Accelerator,
): Promise<TrialResult> {
  const program = await compileGuestProgram('trial', cacheDir)
  const initramfs = await buildInitramfs({
    cacheDir,
    kernel,
    node: false,
    programs: [program],
    command: [program],
    modules: ['kvm', 'kvm_amd', 'kvm_intel'],
    ports: false,
  })
  const folder = await createTemporaryFolder('trial')
  try {
    const consoleFile = join(folder.path, 'console')
    const options = {
      kernel,
      initramfs: initramfs.file,
      accelerator,
      memory: TRIAL_MEMORY,
      cpus: 1,
      consoleFile,
    }
    await initramfs.pack()
    const machine = await startMachine(options)
    const limit = new AbortController()
    const timeout = sleep(TRIAL_LIMIT_MS, undefined, { signal: limit.signal }).catch(() => {})
    await Promise.race([machine.exited, timeout])
    limit.abort()
    await machine.kill()
    return parseTrial(await readConsoleTail(consoleFile))
  } catch (error) {
    return { outcome: 'unclear', details: (error as Error).message }
  } finally {
    await folder.remove()
  }
}

/** The trial's answer in what the console showed. */
export function parseTrial(console: string): TrialResult {
  if (/^gmem-trial: ok\r?$/m.test(console)) return { outcome: 'works', details: 'a VM ran inside a VM' }
  const failure = /^gmem-trial: failed: (.*?)\r?$/m.exec(console)?.[1]
  if (failure !== undefined) return { outcome: 'refused', details: `in a VM, ${failure}` }
  const lastLine = console.trimEnd().split('\n').at(-1)?.trim() ?? ''
  return {
    outcome: 'unclear',
    details: lastLine === '' ? 'the VM printed nothing' : `its last words: ${lastLine}`,
  }
}
