// SPDX-License-Identifier: Apache-2.0
import { mkdir, readdir, readFile, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { KernelImage } from '../kernels/types.js'
import { type Bytes, mib } from '../units.js'
import type { Accelerator } from './accelerator.js'
import { writeCpio } from './cpio.js'
import { SavedVmError } from './errors.js'
import type { Initramfs } from './initramfs.js'
import {
  DEFAULT_MEMORY,
  type Machine,
  type MachineOptions,
  type SavedState,
  startMachine,
} from './machine.js'
import { draftRamFile, type RamFileDraft } from './ram-file.js'
import { familyKey, savedKey } from './saved-key.js'
import { sweepOldest } from './sweep.js'

const KEPT_MAX = 10
const UNUSED_DAYS_MAX = 14
/** The file that says whom a saved VM is related to. */
const FAMILY = 'family'

/** What to save. */
export interface SavedVmOptions {
  readonly cacheDir: string
  readonly initramfs: Initramfs
  readonly accelerator: Accelerator
  readonly memory?: Bytes
  readonly cpus?: number
  readonly extraAppend?: string
  readonly extraArgs?: readonly string[]
  /** The console of the VM that is booted to be saved. */
  readonly consoleFile: string
  /** A VM that was saved with other exchangeable files, and is the same but for these, will do, too. */
  readonly mayBeRelated?: boolean
  /** None is booted to be saved. */
  readonly onlyExisting?: boolean
  /** Waits until the worker in the VM is ready to be copied: loaded, and silent on the channel. */
  readonly boot: (machine: Machine) => Promise<void>
  /** Told what takes long. */
  readonly progress?: (step: string) => void
  readonly signal?: AbortSignal
}

const inFlight = new Map<string, Promise<SavedState | null>>()

/**
 * The saved VM for this kernel, initramfs, QEMU and command line: from the cache, or booted, waited for with
 * `boot`, and saved. Whoever is first wins where two processes save the same VM at once; both results are the
 * same. With `mayBeRelated` a related VM is taken where this one is not there; with `onlyExisting` null is returned where none is.
 * Throws SavedVmError where saving fails (the caller boots cold, and says so), and whatever `boot` throws.
 */
export async function ensureSaved(kernel: KernelImage, options: SavedVmOptions): Promise<SavedState | null> {
  const machineOptions = toMachineOptions(kernel, options)
  const key = await savedKey(kernel, options.initramfs, machineOptions)
  const known = inFlight.get(key)
  if (known) return await known
  const work = findOrSave({ kernel, key }, options, machineOptions).finally(() => inFlight.delete(key))
  inFlight.set(key, work)
  return await work
}

/** Deletes a saved VM; for one that was restored and then did not answer. A VM that runs from it goes on. */
export async function discardSaved(saved: SavedState): Promise<void> {
  await rm(saved.folder, { recursive: true, force: true })
}

interface Wanted {
  readonly kernel: KernelImage
  readonly key: string
}

async function findOrSave(
  { kernel, key }: Wanted,
  options: SavedVmOptions,
  machine: MachineOptions,
): Promise<SavedState | null> {
  const root = join(options.cacheDir, 'saved')
  await mkdir(root, { recursive: true })
  const state = savedState(root, key)
  const isThere = await stat(state.stateFile).catch(() => null)
  if (isThere) await utimes(state.folder, new Date(), new Date()).catch(() => {})
  await sweepOldest(root, '', KEPT_MAX, UNUSED_DAYS_MAX)
  if (isThere) return state
  const family = await familyKey(kernel, options.initramfs, machine)
  const related = options.mayBeRelated ? await findRelated(root, family) : null
  if (related !== null || options.onlyExisting) return related
  await checkSpace(root, machine.memory ?? DEFAULT_MEMORY)
  options.progress?.('booting the VM once, to save it')
  await options.initramfs.pack()
  const ram = await draftRamFile(root)
  try {
    await bootAndSave(root, { key, family, ram }, options, machine)
    return state
  } finally {
    await ram.close()
  }
}

interface Draft {
  readonly key: string
  readonly family: string
  readonly ram: RamFileDraft
}

async function bootAndSave(
  root: string,
  { key, family, ram }: Draft,
  options: SavedVmOptions,
  machineOptions: MachineOptions,
): Promise<void> {
  const machine = await startMachine({ ...machineOptions, ramFile: { path: ram.path, share: true } })
  const draft = `${join(root, key)}.${process.pid}.partial`
  try {
    await options.boot(machine).catch((error: unknown) => rethrowBootError(machine, error))
    options.progress?.('saving the VM')
    await mkdir(draft)
    await machine.save(join(draft, 'state'), options.signal ? { signal: options.signal } : {})
    await machine.kill()
    await ram.publish(join(draft, 'ram'))
    await writeFile(join(draft, 'initrd'), Buffer.concat([...writeCpio([])]))
    await writeFile(join(draft, FAMILY), family)
    await publish(draft, join(root, key))
  } catch (error) {
    throw asSavedVmError(error)
  } finally {
    await machine.kill()
    await rm(draft, { recursive: true, force: true })
  }
}

/** QEMU dies of SIGBUS where a page of the RAM file cannot be allocated; `boot` only saw the VM end. */
async function rethrowBootError(machine: Machine, error: unknown): Promise<never> {
  const exit = await Promise.race([machine.exited, Promise.resolve(null)])
  if (exit?.signal === 'SIGBUS') {
    throw new SavedVmError('no space left on the disk of the cache for a saved VM (ENOSPC)', { cause: error })
  }
  throw error
}

function asSavedVmError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EROFS' && code !== 'EACCES') return error
  return new SavedVmError(`the VM was not saved: ${code} in the cache folder`, { cause: error })
}

async function publish(draft: string, folder: string): Promise<void> {
  try {
    await rename(draft, folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Another gmem was faster; its copy is as good.
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}

async function checkSpace(folder: string, memory: Bytes): Promise<void> {
  const { bavail, bsize } = await statfs(folder, { bigint: true })
  const free = bavail * bsize
  if (free >= memory) return
  throw new SavedVmError(
    `no space for a saved VM in ${folder}: it can take ${memory / mib(1)} MiB, ${free / mib(1)} MiB are free (ENOSPC)`,
  )
}

function toMachineOptions(kernel: KernelImage, options: SavedVmOptions): MachineOptions {
  const { memory, cpus, extraAppend, extraArgs } = options
  return {
    kernel,
    initramfs: options.initramfs.file,
    accelerator: options.accelerator,
    consoleFile: options.consoleFile,
    ...(memory !== undefined && { memory }),
    ...(cpus !== undefined && { cpus }),
    ...(extraAppend !== undefined && { extraAppend }),
    ...(extraArgs !== undefined && { extraArgs }),
  }
}

async function findRelated(root: string, family: string): Promise<SavedState | null> {
  for (const state of await lastUsedFirst(root)) {
    if ((await readFile(join(state.folder, FAMILY), 'utf8').catch(() => '')) !== family) continue
    await utimes(state.folder, new Date(), new Date()).catch(() => {})
    return { ...state, isRelated: true }
  }
  return null
}

/** So that who looks again, for another kernel, finds the same one. */
async function lastUsedFirst(root: string): Promise<SavedState[]> {
  const names = (await readdir(root)).filter((name) => !name.includes('.'))
  const states = names.map((key) => savedState(root, key))
  const used = await Promise.all(
    states.map(async ({ folder }) => (await stat(folder).catch(() => null))?.mtimeMs ?? 0),
  )
  return states
    .map((state, index) => ({ state, usedMs: used[index] ?? 0 }))
    .sort((a, b) => b.usedMs - a.usedMs)
    .map(({ state }) => state)
}

function savedState(root: string, key: string): SavedState {
  const folder = join(root, key)
  return {
    key,
    folder,
    isRelated: false,
    stateFile: join(folder, 'state'),
    ramFile: join(folder, 'ram'),
    emptyInitrd: join(folder, 'initrd'),
  }
}
