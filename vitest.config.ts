// SPDX-License-Identifier: Apache-2.0
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import type { Reporter } from 'vitest/node'
import { hostProblem } from './dist/cli/targets.js'
import { resolveKernel } from './dist/kernels/index.js'
import { createKernelPool, type KernelPool } from './dist/pool/index.js'
import { silentProgress } from './dist/progress.js'
import { ClosingLine } from './dist/report/closing-line.js'
import { skipReasons } from './dist/report/skip-reasons.js'

/**
 * All tests of the project, for `npm test` and for editors. The contract runs on each target as a project of its own; `gmem test`
 * is the same with more targets and more to say.
 */
const built = (module: string): string => fileURLToPath(new URL(`./dist/${module}/index.js`, import.meta.url))

const alias = { 'gmem/testing': built('testing'), 'gmem/kvm': built('kvm'), 'gmem/abi': built('abi') }

// The compiled API is imported natively: a saved VM has it loaded already.
const server = { deps: { external: [/\/dist\//] } }

const contract = { include: ['tests/kernel/**/*.test.ts'], server, sequence: { groupOrder: 1 } }
/** What only a kernel with in-place conversion can show; the rest of the contract is the same on it as on 7.3. */
const inPlace = { ...contract, include: ['tests/kernel/inplace-*.test.ts'] }

/** What needs a machine with two nodes; the rest of the contract is the same on it. */
const numa = { ...contract, include: ['tests/kernel/numa.test.ts'] }

const pools: KernelPool[] = []

/** VMs that wait for a file which does not come would keep vitest from ending. */
const endOfVms: Reporter = {
  onTestRunEnd: async () => void (await Promise.all(pools.map((pool) => pool.endIdle()))),
}

/** A kernel's project; none where nobody has built that kernel yet (`gmem kernel build`). */
async function kernelProjects(spec: string, files: typeof contract, append?: string) {
  const kernel = await resolveKernel(spec, {
    build: false,
    progress: silentProgress,
    signal: new AbortController().signal,
  }).catch((error: Error) => {
    console.warn(`gmem: nothing runs on ${spec}: ${error.message}`)
    return null
  })
  if (kernel === null) return []
  const name = `kernel:${kernel.id}${append === undefined ? '' : ` ${append}`}`
  const runDir = join(tmpdir(), `gmem-${process.pid}-vitest-${kernel.id}${append ?? ''}`)
  // The consoles of a run that failed are worth keeping; the failures name them.
  process.once('exit', (code) => code === 0 && rmSync(runDir, { recursive: true, force: true }))
  const pool = createKernelPool({
    kernel,
    accelerator: 'auto',
    ...(append !== undefined && { append }),
    runDir,
    onEvent: (event) => {
      if (event.type === 'accelerator') console.log(`${kernel.id}: ${event.accel}: ${event.why}`)
      if (event.type === 'note' || event.type === 'progress') console.log(`${kernel.id}: ${event.text}`)
    },
  })
  pools.push(pool)
  return [{ plugins: [skipReasons], resolve: { alias }, test: { ...files, name, pool } }]
}

export default defineConfig({
  test: {
    reporters: ['default', endOfVms, new ClosingLine()],
    projects: [
      { resolve: { alias }, test: { name: 'unit', include: ['tests/unit/**/*.test.ts'], server } },
      {
        test: {
          name: 'native',
          include: ['tests/native/**/*.test.ts'],
          pool: 'forks',
          testTimeout: 30_000,
          server,
        },
      },
      ...(await kernelProjects(process.env.GMEM_KERNEL ?? '7.3', contract)),
      ...(await kernelProjects('7.3', numa, 'numa=fake=2')),
      ...(await kernelProjects('7.3+inplace-conversion', inPlace)),
      ...(hostProblem() === null
        ? [
            {
              plugins: [skipReasons],
              resolve: { alias },
              test: { ...contract, name: 'kernel:host', pool: 'forks' as const },
            },
          ]
        : []),
      {
        resolve: { alias },
        test: {
          name: 'harness',
          include: ['tests/harness/*.test.ts'],
          pool: 'forks',
          // Each boots VMs of its own: two at a time are all that two cores carry.
          maxWorkers: 2,
          testTimeout: 300_000,
          server,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
