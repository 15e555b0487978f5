// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { KernelImage } from '../kernels/types.js'
import { FROM_GUEST_PORT_NAME, TO_GUEST_PORT_NAME } from './arguments.js'
import { FileDigests, hashOf } from './digests.js'
import { InfrastructureError } from './errors.js'
import { compileGuestProgram } from './guest-init.js'
import { formatInitConfig, type InitConfig } from './init-config.js'
import { rememberedLibraries } from './libraries.js'
import { type ModulePlan, planModules, readModule, readModuleIndex } from './modules.js'
import { ensurePacked } from './pack.js'
import { packageFiles } from './packages.js'

/** Part of the cache's key: raise it when the same input gives another archive. */
const FORMAT_VERSION = 1

/** Modules that a guest can need, in load order; what is built in or does not exist is left out. */
export const DEFAULT_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_console',
  'virtio_rng',
  'kvm',
  'kvm_amd',
  'kvm_intel',
  'null_blk',
]

const PROCESSOR_MODULES: Readonly<Record<string, 'amd' | 'intel'>> = { kvm_amd: 'amd', kvm_intel: 'intel' }

/** The ports that the worker finds in its environment (src/pool/guest/main.ts). */
const WORKER_PORTS = { GMEM_OUT_PORT: FROM_GUEST_PORT_NAME, GMEM_IN_PORT: TO_GUEST_PORT_NAME }
const MODULE_PARAMETERS: Readonly<Record<string, string>> = { null_blk: 'nr_devices=1' }

/** What goes into an initramfs. */
export interface InitramfsOptions {
  readonly cacheDir: string
  readonly kernel: Pick<KernelImage, 'release' | 'modulesDir'>
  /** The program that init starts and its arguments, guest paths. */
  readonly command: readonly string[]
  /** Whether this Node goes in. Default: true. */
  readonly node?: boolean
  /** Programs and native addons: taken along with their shared libraries, at the same paths. */
  readonly programs?: readonly string[]
  /** Files and whole folders, at the same absolute paths in the guest. */
  readonly files?: readonly string[]
  /** npm packages with what they depend on, looked up from `from`. */
  readonly packages?: { readonly from: string; readonly names: readonly string[] }
  /** Text files of the guest alone, by guest path. */
  readonly texts?: Readonly<Record<string, string>>
  /** Default: DEFAULT_MODULES. */
  readonly modules?: readonly string[]
  /** The worker's environment, beside HOME, PATH, TMPDIR and that of `ports`. */
  readonly env?: Readonly<Record<string, string>>
  /** Values to write below /proc/sys or /sys before the worker starts, by path. */
  readonly sysctls?: Readonly<Record<string, string>>
  /** Whether the worker gets the virtio-serial ports, in GMEM_OUT_PORT and GMEM_IN_PORT. Default: true. */
  readonly ports?: boolean
  /** Keeps the worker on one processor. Default: it runs on all. */
  readonly cpu?: number
  readonly cwd?: string
  /** Files that a VM which was saved with others of their kind can be given later, by guest path. Default: none. */
  readonly isExchangeable?: (path: string) => boolean
}

/** An initramfs of the cache. */
export interface Initramfs {
  /** Where it is, from `pack()` on. */
  readonly file: string
  /** Writes it, where the cache does not have it: a copy of a saved VM needs none, and it takes a second. InfrastructureError as below. */
  readonly pack: () => Promise<void>
  /** Over everything in it, hex. */
  readonly hash: string
  /** The same without what is exchangeable; a VM that is there needs none. */
  readonly familyHash: () => string
  readonly exchangeable: readonly GuestFile[]
  /** Wanted modules that the kernel neither has built in nor as modules. */
  readonly missingModules: readonly string[]
}

/** A file of the guest. */
export interface GuestFile {
  readonly path: string
  /** SHA-256, hex; of the compressed file where it is packed decompressed. */
  readonly digest: string
  readonly read: () => Promise<Buffer>
}

/** A member whose contents are read only where the archive is written. */
interface Member extends GuestFile {
  readonly mode: number
}

/**
 * The initramfs for a kernel: our PID 1, the programs with their libraries, files, packages and modules. Throws InfrastructureError where
 * something that goes in is missing.
 */
export async function buildInitramfs(options: InitramfsOptions): Promise<Initramfs> {
  const folder = join(options.cacheDir, 'initramfs')
  await mkdir(folder, { recursive: true })
  const digests = await FileDigests.open(join(folder, 'digests.json'))
  const plan = await planFor(options)
  const members = await collectMembers(options, plan, digests)
  await digests.close()
  const hash = hashMembers(members)
  const file = join(folder, `${hash.slice(0, 32)}.cpio`)
  let packing: Promise<void> | null = null
  const pack = (): Promise<void> => {
    packing ??= ensurePacked(file, members)
    return packing
  }
  const { isExchangeable = () => false } = options
  const familyHash = (): string => hashMembers(members.filter(({ path }) => !isExchangeable(path)))
  const exchangeable = members.filter(({ path }) => isExchangeable(path))
  return { file, pack, hash, familyHash, exchangeable, missingModules: plan.missing }
}

async function planFor(options: InitramfsOptions): Promise<ModulePlan> {
  const { modulesDir } = options.kernel
  const wanted = options.modules ?? DEFAULT_MODULES
  // Without a modules folder nobody knows what is built in; init finds out.
  if (modulesDir === null) return { load: [], builtin: [], missing: [] }
  return planModules(await readModuleIndex(modulesDir), wanted)
}

async function collectMembers(
  options: InitramfsOptions,
  plan: ModulePlan,
  digests: FileDigests,
): Promise<Member[]> {
  const { modulesDir } = options.kernel
  const programs = [...(options.node === false ? [] : [process.execPath]), ...(options.programs ?? [])]
  const libraries = await Promise.all(
    programs.map((program) => rememberedLibraries(options.cacheDir, program)),
  )
  const paths = new Set([...programs, ...libraries.flat()])
  for (const root of options.files ?? []) for (const path of await walk(root)) paths.add(path)
  if (options.packages) {
    for (const path of await packageFiles(options.packages.from, options.packages.names)) paths.add(path)
  }
  const init = await compileGuestProgram('init', options.cacheDir)
  const files = [...paths].map((path) => fileMember(path, path, digests))
  const modules = plan.load.map(async ({ path }): Promise<Member> => {
    const source = join(modulesDir ?? '', path)
    const member = await fileMember(guestModulePath(options.kernel.release, path), source, digests)
    return { ...member, read: () => readModule(modulesDir ?? '', path) }
  })
  const texts = { ...options.texts, '/etc/gmem/init.conf': formatInitConfig(initConfig(options, plan)) }
  return [
    ...(await Promise.all([...files, ...modules, fileMember('/init', init, digests)])),
    ...Object.entries(texts).map(([path, text]) => textMember(path, text)),
  ]
}

function initConfig(options: InitramfsOptions, plan: ModulePlan): InitConfig {
  return {
    modules: plan.load.map(({ name, path }) => ({
      path: guestModulePath(options.kernel.release, path),
      processor: PROCESSOR_MODULES[name] ?? null,
      parameters: MODULE_PARAMETERS[name] ?? '',
    })),
    env: {
      HOME: '/root',
      PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
      TMPDIR: '/tmp',
      ...options.env,
    },
    sysctls: options.sysctls ?? {},
    ports: options.ports === false ? {} : WORKER_PORTS,
    cpu: options.cpu ?? null,
    cwd: options.cwd ?? '/',
    command: options.command,
  }
}

function guestModulePath(release: string, path: string): string {
  return `/lib/modules/${release}/${path.replace(/\.(gz|xz|zst)$/, '')}`
}

async function fileMember(guestPath: string, source: string, digests: FileDigests): Promise<Member> {
  try {
    const { digest, mode } = await digests.digest(source)
    return { path: guestPath, mode: mode & 0o777, digest, read: () => readUnchanged(source, digest) }
  } catch (error) {
    throw new InfrastructureError(`${source}: cannot be packed for the VM: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** The archive's name says what is in it, and it may be written a while after that was found out. */
async function readUnchanged(source: string, digest: string): Promise<Buffer> {
  const data = await readFile(source)
  if (hashOf(data) === digest) return data
  throw new InfrastructureError(`${source} changed while gmem prepared a VM: run it again`)
}

function textMember(path: string, text: string): Member {
  const data = Buffer.from(text)
  return {
    path,
    mode: 0o644,
    digest: hashOf(data),
    read: async () => data,
  }
}

function hashMembers(members: readonly Member[]): string {
  const hash = createHash('sha256').update(`gmem initramfs ${FORMAT_VERSION}\n`)
  const sorted = [...members].sort((a, b) => (a.path < b.path ? -1 : 1))
  for (const { path, mode, digest } of sorted) hash.update(`${path}\0${mode}\0${digest}\n`)
  return hash.digest('hex')
}

/** The files below a folder (symbolic links followed), or the file itself. */
async function walk(root: string): Promise<string[]> {
  try {
    await access(root, constants.R_OK)
  } catch (error) {
    throw new InfrastructureError(`${root}: missing, but the VM needs it: run npm run build`, {
      cause: error,
    })
  }
  if (!(await stat(root)).isDirectory()) return [root]
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() || entry.isSymbolicLink())
  return files.map((entry) => join(entry.parentPath, entry.name)).sort()
}
