// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { KernelImage } from '../kernels/types.js'
import { type Accelerator, type AcceleratorRequest, kvmAccelerator, tcgAccelerator } from './accelerator.js'
import { findQemu } from './binary.js'
import { InfrastructureError } from './errors.js'
import { bootTrial, probeHostKvm } from './trial.js'

/** What the choice needs to know. */
export interface AcceleratorOptions {
  readonly request: AcceleratorRequest
  readonly cacheDir: string
  /** The kernel that a trial boots; the same verdict then holds for every kernel on this host until it reboots. */
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
 * The accelerator for this host, found by trying: KVM only where a guest's own KVM has run a VM (nested SVM or VMX), else TCG. The verdict
 * is remembered until the host reboots or gets another QEMU. Throws InfrastructureError where QEMU is missing, or where `kvm` is asked
 * for and /dev/kvm cannot be used at all.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  if (options.request === 'tcg') return tcgAccelerator('TCG was asked for')
  const qemu = await findQemu()
  const denied = await whyNoDevKvm()
  if (options.request === 'kvm') return await forcedKvm(denied)
  if (denied !== null) return tcgAccelerator(`${denied}, so QEMU emulates the processor`)
  const file = join(options.cacheDir, 'accelerator', `${await hostKey(`${qemu.path} ${qemu.version}`)}.json`)
  const verdict = (await readVerdict(file)) ?? (await tryKvm(options, file))
  if (verdict.cpu === null) return tcgAccelerator(`${verdict.why}, so QEMU emulates the processor`)
  return kvmAccelerator(verdict.cpu, verdict.why)
}

async function forcedKvm(denied: string | null): Promise<Accelerator> {
  if (denied !== null) throw new InfrastructureError(`KVM was asked for, but ${denied}`)
  const host = await probeHostKvm()
  if (host.cpu === null)
    throw new InfrastructureError(`KVM was asked for, but QEMU cannot use it: ${host.error}`)
  const warning = host.nested
    ? ''
    : '; this host offers its guests neither SVM nor VMX: /dev/kvm will not work in the VM'
  return kvmAccelerator(host.cpu, `KVM was asked for${warning}`)
}

async function tryKvm(options: AcceleratorOptions, file: string): Promise<Verdict> {
  const host = await probeHostKvm()
  if (host.cpu === null) {
    return await remember(file, { cpu: null, why: `QEMU cannot use this host's /dev/kvm (${host.error})` })
  }
  // A KVM that passes on neither extension needs no trial.
  if (!host.nested) {
    return await remember(file, {
      cpu: null,
      why: "this host's /dev/kvm offers its guests neither SVM nor VMX",
    })
  }
  options.progress?.('trying nested virtualization: a VM in a VM')
  const trial = await bootTrial(options.kernel, options.cacheDir, kvmAccelerator(host.cpu, 'trial'))
  switch (trial.outcome) {
    case 'works':
      return await remember(file, {
        cpu: host.cpu,
        why: `nested virtualization works here (${trial.details})`,
      })
    case 'refused':
      return await remember(file, {
        cpu: null,
        why: `nested virtualization does not work here (${trial.details})`,
      })
    case 'unclear':
      // The kernel may be to blame, so the next one gets its own trial.
      return { cpu: null, why: `the trial of nested virtualization did not end (${trial.details})` }
  }
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

async function hostKey(qemu: string): Promise<string> {
  const read = (name: string): Promise<string> => readFile(`/proc/sys/kernel/${name}`, 'utf8')
  const [release, bootId] = await Promise.all([read('osrelease'), read('random/boot_id')])
  return createHash('sha256').update(`${release}\n${bootId}\n${qemu}`).digest('hex').slice(0, 16)
}

async function readVerdict(file: string): Promise<Verdict | null> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Verdict
  } catch {
    return null
  }
}

async function remember(file: string, verdict: Verdict): Promise<Verdict> {
  const partial = `${file}.${process.pid}.partial`
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(partial, JSON.stringify(verdict))
  await rename(partial, file)
  return verdict
}
