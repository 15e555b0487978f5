// SPDX-License-Identifier: Apache-2.0
/**
 * The newc cpio format that the kernel unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Written here so that device nodes need no
 * root and the same input always gives the same bytes: owner 0, time 0, inode numbers counted.
 */

const ALIGNMENT = 4
const S_IFREG = 0o100000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000
const S_IFCHR = 0o020000

/** One member of the archive. `path` is absolute as the guest will see it. */
export type CpioEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly type: 'char'
      readonly path: string
      readonly mode: number
      readonly major: number
      readonly minor: number
    }
  | { readonly type: 'file'; readonly path: string; readonly mode?: number; readonly data: Buffer }

/**
 * The archive as pieces to be written one after the other (file contents are not copied). Parent directories
 * that were not named are added with mode 0755; entries are sorted by path, and a path that comes twice
 * counts once, the last. Throws TypeError for a relative path.
 */
export function* writeCpio(entries: Iterable<CpioEntry>): Generator<Buffer> {
  const byPath = new Map<string, CpioEntry>()
  for (const entry of entries) {
    if (!entry.path.startsWith('/')) throw new TypeError(`cpio: ${entry.path} is not absolute`)
    byPath.set(entry.path, entry)
  }
  for (const path of [...byPath.keys()]) addParents(byPath, path)
  let inode = 1
  // Byte order puts a directory before what is in it, which the kernel needs.
  for (const [, entry] of [...byPath].sort(([a], [b]) => (a < b ? -1 : 1))) yield* writeEntry(entry, inode++)
  yield* writeMember({ inode: 0, mode: 0, name: 'TRAILER!!!', data: Buffer.alloc(0), major: 0, minor: 0 })
}

function addParents(byPath: Map<string, CpioEntry>, path: string): void {
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
    const parent = path.slice(0, end)
    if (byPath.has(parent)) return
    byPath.set(parent, { type: 'directory', path: parent })
  }
}

function* writeEntry(entry: CpioEntry, inode: number): Generator<Buffer> {
  const name = entry.path.slice(1)
  const common = { inode, name, data: Buffer.alloc(0), major: 0, minor: 0 }
  switch (entry.type) {
    case 'directory':
      return yield* writeMember({ ...common, mode: S_IFDIR | (entry.mode ?? 0o755) })
    case 'symlink':
      return yield* writeMember({ ...common, mode: S_IFLNK | 0o777, data: Buffer.from(entry.target) })
    case 'char':
      return yield* writeMember({
        ...common,
        mode: S_IFCHR | entry.mode,
        major: entry.major,
        minor: entry.minor,
      })
    case 'file':
      return yield* writeMember({ ...common, mode: S_IFREG | (entry.mode ?? 0o644), data: entry.data })
  }
}

interface Member {
  readonly inode: number
  readonly mode: number
  readonly name: string
  readonly data: Buffer
  readonly major: number
  readonly minor: number
}

function* writeMember(member: Member): Generator<Buffer> {
  const name = Buffer.from(`${member.name}\0`)
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [
    member.inode,
    member.mode,
    0,
    0,
    1,
    0,
    member.data.length,
    0,
    0,
    member.major,
    member.minor,
    name.length,
    0,
  ]
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  yield Buffer.concat([header, name, padding(header.length + name.length)])
  if (member.data.length > 0) yield member.data
  const tail = padding(member.data.length)
  if (tail.length > 0) yield tail
}

function padding(length: number): Buffer {
  return Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT)
}
