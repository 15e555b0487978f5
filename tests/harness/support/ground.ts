// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { buildModule, type KernelImage, resolveKernel } from '../../../src/kernels/index.js'
import { projectRoot } from '../../../src/paths.js'

/** A kernel that trouble can be planted in. */
export interface Ground {
  readonly kernel: KernelImage
  /** The test module, built for it. */
  readonly module: string
}

/** The kernel with the test module, or in words why there is none: nothing here is worth a kernel build of minutes. */
export async function findGround(spec?: string): Promise<Ground | string> {
  try {
    const kernel = await resolveKernel(spec, { build: false })
    return { kernel, module: await buildModule(kernel, join(projectRoot, 'vm-images/modules/gmem_plant')) }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
