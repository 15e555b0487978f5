// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process'
import { GmemError } from '../errors.js'
import { toolEnvironment } from './run.js'

/** The compiler that builds kernels. */
export interface Toolchain {
  /** First lines of `gcc --version` and `ld --version`: part of a kernel's key. */
  readonly identity: string
  /** `CC=ccache gcc` where ccache is there. */
  readonly makeArguments: readonly string[]
}

/** Finds the compiler, or null where there is none: then only kernels that are built already can be used. */
export async function findToolchain(): Promise<Toolchain | null> {
  const [gcc, ld, ccache] = await Promise.all([version('gcc'), version('ld'), version('ccache')])
  if (gcc === null || ld === null) return null
  const makeArguments = ccache === null ? [] : ['CC=ccache gcc', 'HOSTCC=ccache gcc']
  return { identity: `${gcc}; ${ld}`, makeArguments }
}

/** Throws, naming them all, when programs are missing that a kernel build starts. */
export async function requireBuildTools(): Promise<void> {
  const found = await Promise.all(
    ['gcc', 'ld', 'make', 'flex', 'bison', 'bc', 'patch', 'depmod', 'setpriv'].map(async (tool) => ({
      tool,
      there: (await version(tool)) !== null,
    })),
  )
  const missing = found.filter(({ there }) => !there).map(({ tool }) => tool)
  if (missing.length === 0) return
  throw new GmemError(`to build a kernel these programs are missing: ${missing.join(', ')}`, {
    hint: '`gmem doctor` prints the command that installs them.',
  })
}

function version(program: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, ['--version'], { env: toolEnvironment() }, (error, stdout) => {
      resolve(error === null ? (stdout.split('\n')[0] ?? '') : null)
    })
  })
}
