// SPDX-License-Identifier: Apache-2.0
import { open, stat } from 'node:fs/promises'
import { execa } from 'execa'
import { InfrastructureError } from './errors.js'
import { rememberForHost } from './host-memory.js'

/** ldconfig writes it anew whenever a package brings or takes a library. */
const LOADER_CACHE = '/etc/ld.so.cache'
/** Enough of an ELF file to hold its program headers and the PT_INTERP string. */
const ELF_HEAD_BYTES = 4096

/**
 * What sharedLibraries() finds, remembered until the file or the system's libraries change, or the host boots: a loader is started for
 * each file, in 10 ms.
 */
export async function rememberedLibraries(cacheDir: string, path: string): Promise<string[]> {
  const [file, cache] = await Promise.all([
    stat(path).catch(() => null),
    stat(LOADER_CACHE).catch(() => null),
  ])
  if (file === null || cache === null) return await sharedLibraries(path)
  const depends = [
    path,
    file.size,
    file.mtimeMs,
    file.ctimeMs,
    cache.mtimeMs,
    process.env.LD_LIBRARY_PATH ?? '',
  ]
  return await rememberForHost(cacheDir, 'libraries', depends.join('\n'), async () => ({
    value: await sharedLibraries(path),
    keep: true,
  }))
}

/**
 * The dynamic loader and every shared library that the program or library at `path` needs, as absolute paths,
 * by asking the program's own loader (`LOADER --list`, what ldd does). Empty for a static program. Throws
 * InfrastructureError where a library is missing.
 */
export async function sharedLibraries(path: string): Promise<string[]> {
  const head = await readHead(path)
  if (isStatic(head)) return []
  // A library names no loader: Node's own is the one that will load it.
  const loader = parseInterpreter(head) ?? parseInterpreter(await readHead(process.execPath))
  if (loader === null) return []
  const { stdout, stderr, exitCode } = await execa(loader, ['--list', path], { reject: false })
  if (exitCode !== 0) {
    throw new InfrastructureError(`${path}: the dynamic loader cannot read it: ${(stderr || stdout).trim()}`)
  }
  return [...new Set([loader, ...parseLibraryList(path, stdout)])]
}

/** The libraries in the output of `ld.so --list`. Throws InfrastructureError for one that was not found. */
export function parseLibraryList(path: string, output: string): string[] {
  const libraries: string[] = []
  for (const line of output.split('\n')) {
    const [, name = '', target] = /^\s*(\S+)(?: => (.+?))?(?: \(0x[0-9a-f]+\))?$/.exec(line) ?? []
    if (target === 'not found')
      throw new InfrastructureError(`${path}: its shared library ${name} is not installed`)
    const library = target ?? name
    // The vDSO has a name and no file.
    if (library.startsWith('/')) libraries.push(library)
  }
  return libraries
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const head = Buffer.alloc(ELF_HEAD_BYTES)
    const { bytesRead } = await file.read(head, 0, head.length, 0)
    return head.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/**
 * Whether the first bytes of a file are those of a program that needs no loader (ET_EXEC without PT_INTERP),
 * or of no ELF file.
 */
export function isStatic(elf: Buffer): boolean {
  const ET_EXEC = 2
  if (elf.toString('latin1', 0, 4) !== '\x7fELF' || elf.length < 64) return true
  return elf.readUInt16LE(0x10) === ET_EXEC && parseInterpreter(elf) === null
}

/** PT_INTERP of a 64-bit little-endian ELF file, from its first bytes; null where it has none. */
export function parseInterpreter(elf: Buffer): string | null {
  const PT_INTERP = 3
  if (elf.toString('latin1', 0, 4) !== '\x7fELF' || elf.length < 64) return null
  const tableOffset = Number(elf.readBigUInt64LE(0x20))
  const entrySize = elf.readUInt16LE(0x36)
  const entries = elf.readUInt16LE(0x38)
  for (let index = 0; index < entries; index++) {
    const entry = tableOffset + index * entrySize
    if (entry + 0x28 > elf.length) return null
    if (elf.readUInt32LE(entry) !== PT_INTERP) continue
    const offset = Number(elf.readBigUInt64LE(entry + 8))
    const size = Number(elf.readBigUInt64LE(entry + 0x20))
    return elf.toString('latin1', offset, offset + size - 1)
  }
  return null
}
