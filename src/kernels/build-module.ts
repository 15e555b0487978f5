// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { cp, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { ExitCode, GmemError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import { treeHash } from './build-tree.js'
import { imageDigest } from './bzimage.js'
import { listKernels } from './cache.js'
import { acquireLock, type Lock } from './lock.js'
import { make } from './make.js'
import { findToolchain, requireBuildTools } from './toolchain.js'
import { treesDir } from './tree-state.js'
import type { KernelImage } from './types.js'

const LOG = 'build.log'
const KEY_LENGTH = 16

/** How a module is built. */
export interface BuildModuleOptions {
  readonly signal?: AbortSignal | undefined
  /** The kernel's own tree, whose lock the caller has; found and locked where absent. */
  readonly src?: string
  /** False: a GmemError at once while somebody builds in that tree, instead of waiting for the end of it. */
  readonly wait?: boolean
}

/**
 * Builds a module from outside the kernel's tree (a folder with a Makefile that says `obj-m := NAME.o`, NAME being the folder's)
 * against the tree that the kernel was built in. Returns the path of the .ko, which the cache keeps for this kernel and these
 * sources; that they do not build is kept as well. GmemError: 69 where that tree is gone or has built another kernel since, 125
 * where the module does not build.
 */
export async function buildModule(
  kernel: KernelImage,
  sourceFolder: string,
  options: BuildModuleOptions = {},
): Promise<string> {
  const name = basename(sourceFolder)
  const folder = await moduleFolder(kernel, sourceFolder)
  const module = join(folder, `${name}.ko`)
  if (existsSync(module)) return module
  if (existsSync(folder)) {
    throw new GmemError(`the module ${name} did not build for ${kernel.id}: ${join(folder, LOG)}`, {
      exitCode: ExitCode.buildFailed,
      hint: `Remove ${folder} to have it tried again.`,
    })
  }
  const shared = await sharedFolder(kernel, sourceFolder)
  if (existsSync(join(shared, `${name}.ko`))) {
    await copyWhole(shared, folder)
  } else {
    await compileInTree(kernel, { sourceFolder, folder, signal: options.signal }, options)
    await copyWhole(folder, shared)
  }
  return module
}

async function compileInTree(
  kernel: KernelImage,
  what: Omit<Compilation, 'src'>,
  options: BuildModuleOptions,
): Promise<void> {
  if (options.src !== undefined) return await compile(kernel, { ...what, src: options.src })
  const tree = findTree(kernel)
  await requireBuildTools()
  // A kernel that is built meanwhile would change the tree under us.
  const lock = await lockTree(tree, options)
  try {
    await requireSameKernel(kernel, tree.src)
    await compile(kernel, { ...what, src: tree.src })
  } finally {
    await lock.release()
  }
}

/** Whether buildModule() would answer at once. */
export async function isModuleTried(kernel: KernelImage, sourceFolder: string): Promise<boolean> {
  return existsSync(await moduleFolder(kernel, sourceFolder))
}

async function moduleFolder(kernel: KernelImage, sourceFolder: string): Promise<string> {
  return await cacheFolder(kernel.key, sourceFolder)
}

/**
 * Where the module lies for every kernel with the same bzImage: that holds the release and all that it exports, and the types that it
 * was compiled with, so that a kernel in which only KVM differs need not wait for a compiler.
 */
async function sharedFolder(kernel: KernelImage, sourceFolder: string): Promise<string> {
  const image = await imageDigest(kernel.bzImage).catch(() => kernel.key)
  return await cacheFolder(`image ${image}`, sourceFolder)
}

async function cacheFolder(of: string, sourceFolder: string): Promise<string> {
  const key = createHash('sha256').update(`${of}\0${await digest(sourceFolder)}`)
  const name = `${basename(sourceFolder)}-${key.digest('hex').slice(0, KEY_LENGTH)}`
  return join(cacheRoot(), 'extra-modules', name)
}

/** The copy gets its name when it is whole; one that is there stays. */
async function copyWhole(from: string, to: string): Promise<void> {
  const unfinished = `${to}.${process.pid}`
  try {
    await cp(from, unfinished, { recursive: true })
    if (!existsSync(to)) await rename(unfinished, to)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

interface Compilation {
  readonly sourceFolder: string
  /** What is to hold the module, or the log where it does not build. */
  readonly folder: string
  readonly src: string
  readonly signal: AbortSignal | undefined
}

async function compile(
  kernel: KernelImage,
  { sourceFolder, folder, src, signal }: Compilation,
): Promise<void> {
  const name = basename(sourceFolder)
  const work = `${folder}.${process.pid}`
  try {
    await mkdir(dirname(work), { recursive: true })
    await cp(sourceFolder, work, { recursive: true })
    await make([`M=${work}`, 'modules'], {
      src,
      toolchain: (await findToolchain()) ?? { identity: '', makeArguments: [] },
      jobs: availableParallelism(),
      log: join(work, LOG),
      what: `the module ${name} for ${kernel.id}`,
      signal,
    })
    await rename(work, folder)
  } catch (error) {
    if (error instanceof GmemError && error.exitCode === ExitCode.buildFailed) await rename(work, folder)
    throw error
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function lockTree(tree: Tree, { signal, wait = true }: BuildModuleOptions): Promise<Lock> {
  const file = `${tree.dir}.lock`
  const lock = wait ? await acquireLock(file, { signal }) : await acquireLock(file, { signal, wait: false })
  if (lock === null) throw new GmemError(`another gmem builds a kernel in ${tree.dir}`)
  return lock
}

interface Tree {
  /** What a build in it locks. */
  readonly dir: string
  readonly src: string
}

function findTree(kernel: KernelImage): Tree {
  const built = listKernels().find(({ key }) => key === kernel.key)
  if (built === undefined) return aroundImage(kernel)
  const suffix = `-${built.flavour}-${treeHash(built.source, built.flavour)}`
  const names = existsSync(treesDir()) ? readdirSync(treesDir()) : []
  const dir = names.filter((name) => name.endsWith(suffix)).map((name) => join(treesDir(), name))[0]
  if (dir === undefined) throw treeIsGone(kernel, treesDir())
  return { dir, src: join(dir, 'src') }
}

/** A ready image is as good as one of ours while it lies in the tree that built it. */
function aroundImage(kernel: KernelImage): Tree {
  const src = resolve(dirname(kernel.bzImage), '../../..')
  if (!existsSync(join(src, 'Module.symvers')))
    throw new GmemError(`there is no build tree around ${kernel.bzImage} (${src} has no Module.symvers)`)
  return { dir: src, src }
}

/** Patch sets come and go in a tree: a module for one kernel must not be built with the headers of another. */
async function requireSameKernel(kernel: KernelImage, src: string): Promise<void> {
  const [here, wanted] = await Promise.all(
    [join(src, 'arch/x86/boot/bzImage'), kernel.bzImage].map((path) => readFile(path).catch(() => null)),
  )
  if (!here || !wanted?.equals(here)) throw treeIsGone(kernel, src)
}

function treeIsGone(kernel: KernelImage, where: string): GmemError {
  return new GmemError(
    `the tree that ${kernel.id} was built in is gone, or has built another kernel since (${where})`,
    {
      hint: `Build it again: gmem kernel remove ${kernel.id} && gmem kernel build ${kernel.id}`,
    },
  )
}

async function digest(folder: string): Promise<string> {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder).sort()) {
    const content = await readFile(join(folder, name))
    hash.update(`${name}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}
