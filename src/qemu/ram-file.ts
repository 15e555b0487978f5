// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { SavedVmError } from './errors.js'

/** asm-generic/fcntl.h on x86-64: __O_TMPFILE | O_DIRECTORY. Node has no name for it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY

/** The file that a VM's RAM is mapped from while it is being saved. */
export interface RamFileDraft {
  /** For QEMU, which opens it while this process lives. */
  readonly path: string
  /** Gives it its name. Throws SavedVmError. */
  publish(target: string): Promise<void>
  /** Lets go of it: without `publish` it is gone. */
  close(): Promise<void>
}

/**
 * A file without a name in `folder` (O_TMPFILE): until it is published the kernel deletes it with this
 * process and its QEMU, whatever kills them. Where the filesystem has no such files, one with a name that
 * `sweepOldest` recognizes.
 */
export async function draftRamFile(folder: string): Promise<RamFileDraft> {
  const unnamed = await open(folder, constants.O_RDWR | O_TMPFILE, 0o600).catch(() => null)
  return unnamed ? unnamedDraft(unnamed) : await namedDraft(folder)
}

function unnamedDraft(file: FileHandle): RamFileDraft {
  const path = `/proc/${process.pid}/fd/${file.fd}`
  return {
    path,
    publish: async (target) => {
      // link(2), which Node has, would link the symbolic link in /proc; ln -L is linkat(AT_SYMLINK_FOLLOW).
      const { failed, stderr } = await execa('ln', ['-L', path, target], { reject: false })
      if (failed) throw new SavedVmError(`the VM's RAM was not kept: ${stderr}`)
    },
    close: () => file.close(),
  }
}

async function namedDraft(folder: string): Promise<RamFileDraft> {
  const path = join(folder, `ram.${process.pid}.partial`)
  await (await open(path, 'w', 0o600)).close()
  return {
    path,
    publish: (target) => rename(path, target),
    close: () => rm(path, { force: true }),
  }
}
