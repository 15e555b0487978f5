// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { delimiter, isAbsolute, join } from 'node:path'
import { execa } from 'execa'
import { cacheRoot } from '../paths.js'
import { InfrastructureError } from './errors.js'
import { rememberForHost } from './host-memory.js'

/** The QEMU that runs the VMs. */
export interface QemuBinary {
  /** Absolute path. */
  readonly path: string
  /**
   * `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`: the whole version, because a saved VM belongs to exactly one
   * build of QEMU.
   */
  readonly version: string
  /**
   * qboot, which comes with QEMU and is ready 0.3 s sooner than SeaBIOS under emulation; null where it was
   * not installed.
   */
  readonly firmware: string | null
  /** It has ivshmem-plain, which some distributions leave out. */
  readonly hasMemoryCard: boolean
}

const found = new Map<string, Promise<QemuBinary>>()

/**
 * The path of qemu-system-x86_64 in PATH, or what GMEM_QEMU says; runs nothing. Throws InfrastructureError where
 * it is missing, with what to install.
 */
export function locateQemu(env: NodeJS.ProcessEnv = process.env): string {
  const program = env.GMEM_QEMU ?? 'qemu-system-x86_64'
  const path = findProgram(program, env)
  if (path !== null) return path
  throw new InfrastructureError(
    env.GMEM_QEMU === undefined
      ? 'no qemu-system-x86_64 in PATH: apt-get install qemu-system-x86'
      : `GMEM_QEMU=${program}: no such program; unset it, and apt-get install qemu-system-x86`,
  )
}

/** Finds QEMU as locateQemu does. Throws InfrastructureError where it is missing or does not start. */
export async function findQemu(env: NodeJS.ProcessEnv = process.env): Promise<QemuBinary> {
  const path = locateQemu(env)
  const known = found.get(path) ?? inspected(path)
  found.set(path, known)
  return await known
}

/** Whether and where a program is, looked up in PATH as a shell does; null where it is not. */
export function findProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | null {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const candidates = isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name))
  return candidates.find(isExecutable) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** What inspect() found, remembered until the host boots or the file changes: QEMU is started three times for it, in 0.1 s. */
async function inspected(path: string): Promise<QemuBinary> {
  const { size, mtimeMs } = statSync(path)
  const binary = await rememberForHost(cacheRoot(), 'qemu', `${path} ${size} ${mtimeMs}`, async () => {
    const value = await inspect(path)
    // What is missing may be installed beside it any time, and a script may start another QEMU tomorrow.
    return { value, keep: value.firmware !== null && value.hasMemoryCard && (await isElf(path)) }
  })
  return binary.firmware === null || existsSync(binary.firmware) ? binary : await inspect(path)
}

async function isElf(path: string): Promise<boolean> {
  const start = await readStart(path).catch(() => '')
  return start === '\x7fELF'
}

async function readStart(path: string): Promise<string> {
  await using file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0)
  return buffer.toString('latin1', 0, bytesRead)
}

async function inspect(path: string): Promise<QemuBinary> {
  const [version, folders, memoryCard] = await Promise.all([
    execa(path, ['--version'], { reject: false }),
    execa(path, ['-L', 'help'], { reject: false }),
    execa(path, ['-device', 'ivshmem-plain,help'], { reject: false }),
  ])
  if (version.failed) {
    throw new InfrastructureError(
      `${path} does not start (${version.shortMessage}): ${version.stderr.trim()}\napt-get install --reinstall qemu-system-x86`,
    )
  }
  const images = folders.stdout.split('\n').map((folder) => join(folder.trim(), 'qboot.rom'))
  return {
    path,
    version: parseQemuVersion(version.stdout),
    firmware: images.find(existsSync) ?? null,
    hasMemoryCard: !memoryCard.failed,
  }
}

/** The version in the first line of `qemu-system-x86_64 --version`. */
export function parseQemuVersion(output: string): string {
  const firstLine = output.split('\n')[0] ?? ''
  return firstLine.replace(/^QEMU emulator version /, '').trim()
}
