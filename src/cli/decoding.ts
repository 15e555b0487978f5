// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import type { KernelImage } from '../kernels/types.js'
import type { ReportedSplat } from '../report/schema.js'
import { SplatDecoder } from '../splats/decode.js'

/** What adds source lines to the splats of each kernel whose vmlinux is known; targets are named as in a run. */
export function createDecoding(
  kernels: ReadonlyMap<string, KernelImage>,
): (target: string, splats: readonly ReportedSplat[]) => Promise<void> {
  const decoders = new Map<string, SplatDecoder>()
  return async (target, splats) => {
    const kernel = kernels.get(target)
    if (!kernel?.vmlinux) return
    const decoder = decoders.get(target) ?? decoderOf(kernel, kernel.vmlinux)
    decoders.set(target, decoder)
    for (const splat of splats) {
      // Without debug information it stays as the kernel printed it, which is what a person needs most.
      const { splat: decoded } = await decoder.decode({
        text: splat.text,
        fileLine: splat.fileLine ?? null,
        function: splat.function ?? null,
      })
      Object.assign(splat, { text: decoded.text }, decoded.fileLine && { fileLine: decoded.fileLine })
    }
  }
}

function decoderOf(kernel: KernelImage, vmlinux: string): SplatDecoder {
  const modules = modulesOf(kernel)
  return new SplatDecoder({
    vmlinux,
    moduleFile: (name) => modules.get(name) ?? null,
    run: async (command, args) => {
      const { stdout, exitCode } = await execa(command, args, { reject: false, maxBuffer: 512 * 1024 * 1024 })
      return { stdout, exitCode: exitCode ?? 127 }
    },
    sourceRoots: [dirname(vmlinux)],
  })
}

/** Module files by the names that stack traces use: `_` for `-`. */
function modulesOf({ modulesDir }: KernelImage): Map<string, string> {
  if (modulesDir === null) return new Map()
  const files = readdirSync(modulesDir, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ko'),
  )
  return new Map(
    files.map((file) => [
      file.replace(/^.*\//, '').replace(/\.ko$/, '').replaceAll('-', '_'),
      join(modulesDir, file),
    ]),
  )
}
