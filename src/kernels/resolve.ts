// SPDX-License-Identifier: Apache-2.0
import { GmemError } from '../errors.js'
import { type Progress, silentProgress } from '../progress.js'
import { cachedKernel, imageOf, listKernels, lookUpKernel } from './cache.js'
import { findSource, rememberedSource } from './debian.js'
import { resolveImage } from './image.js'
import { makeRequest } from './request.js'
import { listSourceTree, type Source } from './source-tree.js'
import { defaultKernelSpec, type KernelSpec, kernelId, parseKernelSpec } from './spec.js'
import { isWorthRebuilding } from './test-modules.js'
import { findToolchain } from './toolchain.js'
import type { KernelImage } from './types.js'

export interface ResolveOptions {
  /** Build it where it is not built yet; else that is a GmemError (69) with the command that builds it. */
  readonly build: boolean
  readonly progress?: Progress
  readonly signal?: AbortSignal | undefined
  /** Parallel compilers. Default: as many as there are processors. */
  readonly jobs?: number | undefined
  /** Ask Debian for a newer version of the series even when one is known. Default: false, and then no network is used. */
  readonly update?: boolean
}

/**
 * Finds the kernel that a specification names, and builds it if it must and may. Without a specification: $GMEM_KERNEL
 * or 7.3. A kernel that is built is found in some 30 ms, without network or root.
 */
export async function resolveKernel(
  wanted: string | KernelSpec = defaultKernelSpec(),
  options: ResolveOptions = { build: false },
): Promise<KernelImage> {
  const spec = typeof wanted === 'string' ? parseKernelSpec(wanted) : wanted
  const progress = options.progress ?? silentProgress
  if (spec.base.kind === 'image') {
    const own = spec.base.modules === null ? cachedKernel(spec.base.path) : null
    if (own !== null) return own
    const image = await resolveImage(spec.base.path, spec.base.modules)
    if (image.modulesDir === null) progress.note(withoutModules(image))
    return image
  }
  const context = { progress, signal: options.signal }
  const toolchain = await findToolchain()
  if (toolchain === null) return withoutCompiler(spec, progress)
  const source = await findBase(spec, options, context)
  if (source === null) throw notBuilt(spec)
  const request = makeRequest(spec, source, toolchain)
  const found = lookUpKernel(request.id, request.key)
  if (found !== null && (!options.build || !(await isWorthRebuilding(request, found)))) {
    progress.end()
    return found
  }
  if (!options.build) throw notBuilt(spec)
  const { buildKernel } = await import('./build.js')
  return buildKernel(request, { ...context, jobs: options.jobs })
}

/** Finds the source of a kernel; null where only the network knows it and `build` is false. */
export async function findBase(
  spec: KernelSpec,
  { build, update }: ResolveOptions,
  context: { progress: Progress; signal: AbortSignal | undefined },
): Promise<Source | null> {
  const { base } = spec
  if (base.kind === 'image') return null
  if (base.kind === 'tree') {
    return { kind: 'tree', path: base.path, listing: await listSourceTree(base.path, context.signal) }
  }
  const known = update ? null : await rememberedSource(base.series, base.version)
  if (known !== null) return { kind: 'debian', debian: known }
  return build ? { kind: 'debian', debian: await findSource(base.series, base.version, context) } : null
}

/** A machine that only runs kernels needs no compiler: the newest build of this name will do. */
function withoutCompiler(spec: KernelSpec, progress: Progress): KernelImage {
  const id = kernelId(spec)
  const newest = listKernels()
    .filter((kernel) => kernel.id === id)
    .sort((a, b) => b.builtAt.localeCompare(a.builtAt))[0]
  if (newest === undefined) {
    throw new GmemError(`${id} is not built, and there is no compiler (gcc, ld) to build it with`, {
      hint: '`gmem doctor` prints the command that installs what is missing.',
    })
  }
  progress.warn(`no compiler here: using the ${id} of ${newest.builtAt} as it is`)
  return imageOf(newest)
}

/** KVM is a module in most kernels: without this line, tests that find no /dev/kvm are a riddle. */
function withoutModules({ id, release }: KernelImage): string {
  return `${id}: no modules of ${release} beside it, so the VM has only what is built in (add ,modules=DIR)`
}

function notBuilt(spec: KernelSpec): GmemError {
  return new GmemError(`the kernel ${spec.text} is not built yet`, {
    hint: `Build it: gmem kernel build ${spec.text}`,
  })
}
