// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:fs'
import { access, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { firstLine } from '../errors.js'
import { freeBytes } from '../kernels/disk.js'
import { defaultKernelSpec, resolveKernel } from '../kernels/index.js'
import { cacheRoot } from '../paths.js'
import { installCommand, missingRequirements } from './requirements.js'

/** What one try gave. `missing`: gmem cannot run a kernel here; `warn`: something works less well, or not at all for some. */
export interface Outcome {
  readonly state: 'ok' | 'warn' | 'missing'
  /** What was seen, in words. */
  readonly detail: string
  /** The exact command or deed that mends it. */
  readonly fix?: string
}

export interface Finding extends Outcome {
  readonly name: string
}

export interface Check {
  readonly name: string
  run(signal: AbortSignal): Promise<Outcome>
}

const GiB = 1024 ** 3

/** In the order in which they are printed. Each one does the thing, instead of looking at versions or CPU flags. */
export const checks: readonly Check[] = [
  { name: 'Node', run: checkNode },
  { name: 'programs and headers', run: checkRequirements },
  { name: 'addon', run: checkAddon },
  { name: "the host's /dev/kvm", run: checkHostKvm },
  { name: 'QEMU', run: checkQemu },
  { name: 'nested virtualization', run: checkNested },
  { name: 'cache', run: checkCache },
  { name: 'kernel sources', run: checkSources },
  { name: 'default kernel', run: checkKernel },
]

async function checkNode(): Promise<Outcome> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const good = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return {
      state: 'missing',
      detail: `${process.platform} ${process.arch}`,
      fix: 'gmem runs on x86-64 Linux only',
    }
  }
  if (good) return { state: 'ok', detail: process.version }
  return { state: 'missing', detail: process.version, fix: 'install Node 20.19, 22.12, 24 or newer' }
}

async function checkRequirements(): Promise<Outcome> {
  const missing = missingRequirements()
  if (missing.length === 0) return { state: 'ok', detail: 'compilers, kernel build tools, QEMU: all there' }
  const needed = missing.filter(({ optional }) => optional === null)
  // What is only needed to build a kernel may be missing where one is built already.
  const built = await resolveKernel(defaultKernelSpec(), { build: false }).then(
    () => true,
    () => false,
  )
  const onlyForBuilds = needed.every(
    ({ why }) => why.startsWith('kernel build') || why.includes('kernel sources'),
  )
  return {
    state: needed.length === 0 || (built && onlyForBuilds) ? 'warn' : 'missing',
    detail: `not there: ${missing.map(({ name, why, optional }) => `${name} (${optional ?? why})`).join(', ')}`,
    fix: installCommand(missing.map((requirement) => requirement.package)),
  }
}

async function checkAddon(): Promise<Outcome> {
  try {
    await import('../binding/index.js')
    return { state: 'ok', detail: 'loads' }
  } catch (error) {
    return { state: 'missing', detail: firstLine(error), fix: 'node scripts/setup.mjs' }
  }
}

async function checkHostKvm(): Promise<Outcome> {
  const { hostProblem } = await import('./targets.js')
  const problem = hostProblem()
  if (problem !== null)
    return { state: 'warn', detail: `${problem.message}: no \`--host\``, fix: problem.hint }
  try {
    const { probeTarget } = await import('../testing/probe-target.js')
    const target = probeTarget()
    if (target.kvmError !== '') return { state: 'warn', detail: `KVM does not answer: ${target.kvmError}` }
    const types = target.vmTypes.map(({ type }) => type).join(', ')
    return {
      state: 'ok',
      detail: `Linux ${target.release}, API ${target.apiVersion}, VM types: ${types || 'none'}`,
    }
  } catch (error) {
    return { state: 'warn', detail: `a VM could not be created: ${firstLine(error)}` }
  }
}

async function checkQemu(signal: AbortSignal): Promise<Outcome> {
  const fix = installCommand(['qemu-system-x86', 'util-linux'])
  try {
    const [{ findQemu }, { execa }] = await Promise.all([import('../qemu/binary.js'), import('execa')])
    const { path, version } = await findQemu()
    const machine = [
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-machine',
      'q35',
      '-m',
      '64',
      '-S',
    ]
    // setpriv as a real run has it: QEMU must not outlive gmem.
    const command = [
      '--pdeathsig',
      'KILL',
      path,
      ...machine,
      '-accel',
      'tcg',
      '-cpu',
      'max,+svm',
      '-qmp',
      'stdio',
    ]
    const tried = await execa('setpriv', command, {
      input: '{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n',
      reject: false,
      timeout: 20_000,
      cancelSignal: signal,
    })
    const refused = tried.failed || /svm/.test(tried.stderr)
    if (!refused) return { state: 'ok', detail: `${version}; its TCG takes -cpu max,+svm` }
    const reason = tried.stderr.trim().split('\n')[0] || tried.shortMessage
    return { state: 'missing', detail: `${version} refuses -accel tcg -cpu max,+svm: ${reason}`, fix }
  } catch (error) {
    return { state: 'missing', detail: firstLine(error), fix }
  }
}

async function checkNested(): Promise<Outcome> {
  const slow = 'VMs run on TCG, which emulates SVM: the contract takes some 20 s'
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    const { probeHostKvm } = await import('../qemu/trial.js')
    const host = await probeHostKvm()
    if (host.cpu === null) return { state: 'ok', detail: `QEMU cannot use /dev/kvm (${host.error}); ${slow}` }
    if (!host.nested) return { state: 'ok', detail: `/dev/kvm passes on neither SVM nor VMX; ${slow}` }
    return { state: 'ok', detail: '/dev/kvm passes it on; the first `gmem test` tries whether it works' }
  } catch {
    return { state: 'ok', detail: `no usable /dev/kvm; ${slow}` }
  }
}

async function checkCache(): Promise<Outcome> {
  const root = cacheRoot()
  try {
    const file = join(root, `doctor-${process.pid}`)
    await mkdir(root, { recursive: true })
    await writeFile(file, 'x')
    await rm(file)
  } catch (error) {
    return {
      state: 'missing',
      detail: `${root}: ${firstLine(error)}`,
      fix: 'export GMEM_CACHE=<a folder you can write to>',
    }
  }
  const free = await freeBytes(root)
  const detail = `${root}, ${(free / GiB).toFixed(1)} GiB free`
  if (free >= 4 * GiB) return { state: 'ok', detail }
  return {
    state: 'warn',
    detail: `${detail}; building a kernel takes 4 GiB`,
    fix: 'free some space, `gmem kernel gc`, or export GMEM_CACHE=<a folder on a larger device>',
  }
}

async function checkSources(signal: AbortSignal): Promise<Outcome> {
  try {
    const { updateIndex } = await import('../kernels/apt.js')
    await updateIndex(signal)
    return { state: 'ok', detail: "Debian's index is reachable through this system's apt" }
  } catch (error) {
    return {
      state: 'warn',
      detail: firstLine(error),
      fix: 'give a source tree or a bzImage (-k ~/linux), or export GMEM_DEBIAN_MIRROR=<address of a Debian mirror>',
    }
  }
}

async function checkKernel(): Promise<Outcome> {
  const spec = defaultKernelSpec()
  try {
    const { release, bzImage } = await resolveKernel(spec, { build: false })
    return { state: 'ok', detail: `${spec} is ${release} (${bzImage})` }
  } catch (error) {
    return { state: 'warn', detail: firstLine(error), fix: `gmem kernel build ${spec}` }
  }
}
