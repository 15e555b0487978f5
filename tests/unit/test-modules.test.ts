// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { buildTestModules, type KernelImage } from '../../src/kernels/index.js'

const folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-`))
afterAll(() => rmSync(folder, { recursive: true }))

const image: KernelImage = {
  id: 'bzImage',
  release: '7.3.4',
  bzImage: join(folder, 'arch/x86/boot/bzImage'),
  modulesDir: null,
  config: null,
  vmlinux: null,
  flavour: 'unknown',
  key: 'none',
}

test('a ready image without its build tree has no test modules, and says why', async () => {
  const modules = await buildTestModules(image)

  expect(modules).toEqual({
    gmem_pfnmap: { reason: expect.stringContaining(`there is no build tree around ${image.bzImage}`) },
  })
})
