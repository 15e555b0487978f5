// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { imageDigest } from '../kernels/bzimage.js'
import type { KernelImage } from '../kernels/types.js'
import { qemuArguments } from './arguments.js'
import { findQemu } from './binary.js'
import type { Initramfs } from './initramfs.js'
import { type MachineOptions, machineArguments } from './machine.js'

/** Part of the key: raise it when a state saved by an older gmem must not be restored. */
const FORMAT_VERSION = 1

/** The key of a kernel's saved VM. */
export async function savedKey(
  kernel: KernelImage,
  initramfs: Initramfs,
  machine: MachineOptions,
): Promise<string> {
  return await keyOf([kernel.key, initramfs.hash], machine)
}

/** What a VM has in common with those whose bzImage has the same bytes, and of whose files only exchangeable ones differ. */
export async function familyKey(
  kernel: KernelImage,
  initramfs: Initramfs,
  machine: MachineOptions,
): Promise<string> {
  return await keyOf([await imageDigest(kernel.bzImage), initramfs.familyHash()], {
    ...machine,
    kernel: { bzImage: '' },
  })
}

/**
 * The boot id stands for the host's processor and kernel, and for the RAM file's pages having reached the
 * disk: nobody waits for them (fsync), so a state must not outlive a crash of the host.
 */
async function keyOf(contents: readonly string[], machine: MachineOptions): Promise<string> {
  const [qemu, bootId] = await Promise.all([findQemu(), readFile('/proc/sys/kernel/random/boot_id', 'utf8')])
  const args = qemuArguments({ ...machineArguments(machine, qemu), initrd: '', consoleFile: '' })
  const parts = [FORMAT_VERSION, ...contents, qemu.path, qemu.version, bootId.trim(), ...args]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)
}
