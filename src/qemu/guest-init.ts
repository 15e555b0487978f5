// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { InfrastructureError } from './errors.js'
import { partialName } from './sweep.js'

/**
 * Where the C sources of what runs beside Node in the guest are (and of one that measures the host). The same
 * from src/qemu and from dist/qemu.
 */
const GUEST_SOURCES = fileURLToPath(new URL('../../vm-images/guest/', import.meta.url))

const CFLAGS = ['-D_GNU_SOURCE', '-std=gnu17', '-static', '-Os', '-s', '-Wall', '-Wextra', '-Werror']

/**
 * Compiles `vm-images/guest/NAME.c` into a static program in the cache and returns its path; at once where
 * the same source was compiled before. Throws InfrastructureError where there is no C compiler, or no static
 * libc.
 */
export async function compileGuestProgram(name: 'init' | 'trial' | 'tsc', cacheDir: string): Promise<string> {
  const source = join(GUEST_SOURCES, `${name}.c`)
  const hash = createHash('sha256')
    .update(CFLAGS.join(' '))
    .update(await readFile(source))
    .digest('hex')
  const folder = join(cacheDir, 'guest')
  const program = join(folder, `${name}-${hash.slice(0, 16)}`)
  if (await stat(program).catch(() => null)) return program
  await mkdir(folder, { recursive: true })
  const partial = partialName(program)
  try {
    await compile(source, partial)
    await rename(partial, program)
  } finally {
    await rm(partial, { force: true })
  }
  return program
}

async function compile(source: string, output: string): Promise<void> {
  const result = await execa('gcc', [...CFLAGS, '-o', output, source], { reject: false, all: true })
  if (result.code === 'ENOENT') {
    throw new InfrastructureError(
      'no C compiler: apt-get install gcc libc6-dev (it builds the PID 1 of the VM)',
    )
  }
  if (result.failed) {
    throw new InfrastructureError(`gcc could not build ${basename(source)}:\n${result.all}`)
  }
}
