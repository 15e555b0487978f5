// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import type { KernelImage } from '../kernels/types.js'
import { type Accelerator, type AcceleratorRequest, kvmAccelerator, tcgAccelerator } from './accelerator.js'
import { findQemu } from './binary.js'
import { InfrastructureError } from './errors.js'
import { type Finding, rememberForHost } from './host-memory.js'
import { measureHostTsc } from './host-tsc.js'
import { bootTrial, probeHostKvm } from './trial.js'

/** What the choice needs to know. */
export interface AcceleratorOptions {
  readonly request: AcceleratorRequest
  readonly cacheDir: string
  /**
   * The kernel that a trial boots; the same verdict then holds for every kernel on this host until it
   * reboots.
   */
  readonly kernel: Pick<KernelImage, 'bzImage' | 'release' | 'modulesDir'>
  readonly progress?: (step: string) => void
}

/** What a trial found. */
interface Verdict {
  /** The -cpu with which a guest's KVM ran a VM of its own; null: none. */
  readonly cpu: string | null
  readonly why: string
}

/**
 * The accelerator for this host, found by trying: KVM only where a guest's own KVM has run a VM (nested SVM
 * or VMX), else TCG. The verdict is remembered until the host reboots or gets another QEMU. Throws
 * InfrastructureError where QEMU is missing, or where `kvm` is asked for and /dev/kvm cannot be used at all.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  if (options.request === 'tcg') return await emulation(options.cacheDir, 'TCG was asked for')
  const qemu = await findQemu()
  const denied = await whyNoDevKvm()
  if (options.request === 'kvm') return await forcedKvm(denied)
  const verdict =
    denied === null
      ? await rememberForHost(options.cacheDir, 'nested', `${qemu.path} ${qemu.version}`, () =>
          tryKvm(options),
        )
      : { cpu: null, why: denied }
  if (verdict.cpu !== null) return kvmAccelerator(verdict.cpu, verdict.why)
  return await emulation(options.cacheDir, `${verdict.why}, so QEMU emulates the processor`)
}

async function emulation(cacheDir: string, why: string): Promise<Accelerator> {
  const khz = await rememberForHost(cacheDir, 'tsc-khz', '', async () => ({
    value: await measureHostTsc(cacheDir),
    keep: true,
  }))
  return tcgAccelerator(why, khz)
}

async function forcedKvm(denied: string | null): Promise<Accelerator> {
  if (denied !== null) throw new InfrastructureError(`KVM was asked for, but ${denied}`)
  const host = await probeHostKvm()
  if (host.cpu === null) {
    throw new InfrastructureError(`KVM was asked for, but QEMU cannot use it: ${host.error}`)
  }
  const warning = '; this host offers its guests neither SVM nor VMX: /dev/kvm will not work in the VM'
  return kvmAccelerator(host.cpu, `KVM was asked for${host.nested ? '' : warning}`)
}

async function tryKvm(options: AcceleratorOptions): Promise<Finding<Verdict>> {
  const host = await probeHostKvm()
  if (host.cpu === null) return refused(`QEMU cannot use this host's /dev/kvm (${host.error})`)
  // A KVM that passes on neither extension needs no trial.
  if (!host.nested) return refused("this host's /dev/kvm offers its guests neither SVM nor VMX")
  options.progress?.('trying nested virtualization: a VM in a VM')
  const trial = await bootTrial(options.kernel, options.cacheDir, kvmAccelerator(host.cpu, 'trial'))
  switch (trial.outcome) {
    case 'works': {
      const why = `nested virtualization works here (${trial.details})`
      return { value: { cpu: host.cpu, why }, keep: true }
    }
    case 'refused':
      return refused(`nested virtualization does not work here (${trial.details})`)
    case 'unclear': {
      // The kernel may be to blame, so the next one gets its own trial.
      const why = `the trial of nested virtualization came to nothing (${trial.details})`
      return { value: { cpu: null, why }, keep: false }
    }
  }
}

function refused(why: string): Finding<Verdict> {
  return { value: { cpu: null, why }, keep: true }
}

/** Why /dev/kvm cannot be opened, as the start of a sentence; null where it can. */
async function whyNoDevKvm(): Promise<string | null> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    return null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return 'this host has no /dev/kvm'
    return `this user may not open /dev/kvm (${code}; adduser USER kvm)`
  }
}
