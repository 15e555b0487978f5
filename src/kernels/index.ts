// SPDX-License-Identifier: Apache-2.0
export { buildModule } from './build-module.js'
export { type BuiltKernel, listKernels, removeKernel } from './cache.js'
export { listFlavours } from './flavours.js'
export { type GcResult, gcKernels } from './gc.js'
export { listPatchSets } from './patches.js'
export { type ResolveOptions, resolveKernel } from './resolve.js'
export { defaultKernelSpec, type KernelSpec, kernelId, parseKernelSpec } from './spec.js'
export type { KernelImage } from './types.js'
