// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile } from 'node:fs/promises'

// Offsets of the setup header: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
const SETUP_SECTORS_OFFSET = 0x1f1
const SYSSIZE_OFFSET = 0x1f4
const HEADER_MAGIC_OFFSET = 0x202
const HEADER_MAGIC = 'HdrS'
const PROTOCOL_VERSION_OFFSET = 0x206
const KERNEL_VERSION_OFFSET = 0x20e
const XLOADFLAGS_OFFSET = 0x236
const XLF_KERNEL_64 = 1
/** `syssize`, the length of the protected-mode code, counts in these. */
const PARAGRAPH_BYTES = 16
/** What `setup_sects` 0 stands for. */
const SETUP_SECTORS_DEFAULT = 4
/** `kernel_version` counts from the end of the boot sector. */
const BOOT_SECTOR_BYTES = 0x200
const PROTOCOL_WITH_XLOADFLAGS = 0x20c
const VERSION_BYTES_MAX = 256

/** What is wrong with a file that should be a bzImage, in words that a person can act on. */
export class BzImageError extends Error {
  override readonly name = 'BzImageError'
}

/**
 * The kernel release (`7.3.4-gmem`, what `uname -r` says) that a bzImage holds, read from its setup header.
 * Throws BzImageError where the file cannot be read, is no bzImage (no "HdrS" at 0x202), is shorter than its
 * header says, or has no 64-bit entry.
 */
export async function readBzImageRelease(path: string): Promise<string> {
  const file = await openImage(path)
  try {
    const header = Buffer.alloc(BOOT_SECTOR_BYTES * 2)
    const { bytesRead } = await file.read(header, 0, header.length, 0)
    checkHeader(path, header.subarray(0, bytesRead))
    checkLength(path, header, (await file.stat()).size)
    const version = Buffer.alloc(VERSION_BYTES_MAX)
    const position = BOOT_SECTOR_BYTES + header.readUInt16LE(KERNEL_VERSION_OFFSET)
    const read = await file.read(version, 0, version.length, position)
    return parseVersion(path, version.subarray(0, read.bytesRead))
  } catch (error) {
    if (error instanceof BzImageError) throw error
    throw new BzImageError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error })
  } finally {
    await file.close()
  }
}

async function openImage(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new BzImageError(`${path}: cannot open the kernel image: ${code}`, { cause: error })
  }
}

function checkHeader(path: string, header: Buffer): void {
  const magicEnd = HEADER_MAGIC_OFFSET + HEADER_MAGIC.length
  if (header.toString('latin1', HEADER_MAGIC_OFFSET, magicEnd) !== HEADER_MAGIC) {
    const hint = header.toString('latin1', 0, 4) === '\x7fELF' ? ' It is an ELF file: pass' : ' Pass'
    throw new BzImageError(
      `${path}: is not a bzImage (no "HdrS" at offset 0x202).${hint} arch/x86/boot/bzImage of a kernel build.`,
    )
  }
  const has64BitEntry =
    header.length > XLOADFLAGS_OFFSET + 1 &&
    header.readUInt16LE(PROTOCOL_VERSION_OFFSET) >= PROTOCOL_WITH_XLOADFLAGS &&
    (header.readUInt16LE(XLOADFLAGS_OFFSET) & XLF_KERNEL_64) !== 0
  if (!has64BitEntry)
    throw new BzImageError(`${path}: is not a 64-bit kernel; guest_memfd needs CONFIG_64BIT=y`)
}

/** A copy that was interrupted boots into a silent reset. */
function checkLength(path: string, header: Buffer, size: number): void {
  const sectors = header.readUInt8(SETUP_SECTORS_OFFSET) || SETUP_SECTORS_DEFAULT
  const paragraphs = header.readUInt32LE(SYSSIZE_OFFSET)
  const wanted = (sectors + 1) * BOOT_SECTOR_BYTES + paragraphs * PARAGRAPH_BYTES
  // The last paragraph may be a part of one.
  if (size > wanted - PARAGRAPH_BYTES) return
  throw new BzImageError(`${path}: is cut short: it has ${size} of the ${wanted} bytes that its header says`)
}

function parseVersion(path: string, text: Buffer): string {
  const end = text.indexOf(0)
  const release = text.toString('latin1', 0, Math.max(end, 0)).split(' ')[0] ?? ''
  if (!/^\d+\.\d+/.test(release)) throw new BzImageError(`${path}: its header names no kernel release`)
  return release
}

/** SHA-256 of a bzImage, in hex. Rejects where it cannot be read. */
export async function imageDigest(bzImage: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(bzImage))
    .digest('hex')
}
