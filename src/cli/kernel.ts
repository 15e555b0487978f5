// SPDX-License-Identifier: Apache-2.0
import { type Command, InvalidArgumentError } from 'commander'
import pc from 'picocolors'
import {
  type BuiltKernel,
  defaultKernelSpec,
  diskUse,
  gcKernels,
  listFlavours,
  listKernels,
  listPatchSets,
  parseKernelSpec,
  removeKernel,
  resolveKernel,
} from '../kernels/index.js'
import type { CliContext } from './context.js'
import { duration } from './progress.js'

interface BuildFlags {
  readonly patches: readonly string[]
  readonly flavour?: string
  readonly jobs?: number
  readonly update?: boolean
  readonly vm: boolean
  readonly json?: boolean
}

export function register(program: Command, context: CliContext): void {
  const kernel = program
    .command('kernel')
    .summary('build, list and remove kernels to test')
    .description('Kernels to test: built from Debian sources or from a tree of yours, kept in the cache.')
    .addHelpText(
      'after',
      examples(
        ['gmem kernel build 7.3-debug', 'build one (`gmem kernel build --help` has more)'],
        ['gmem kernel list', 'what is built'],
        ['gmem kernel gc --max-size 5G', 'make room'],
      ),
    )
  addBuild(kernel, context)
  kernel
    .command('list')
    .description('the kernels that are built, the last used first')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples(
        ['gmem kernel list', 'as a table'],
        ["gmem kernel list --json | jq -r '.[].path'", 'where they are'],
      ),
    )
    .action(async (flags: { json?: boolean }) => await list(flags.json === true, context.signal))
  kernel
    .command('rm')
    .description('remove built kernels, by id or by the first digits of their key')
    .argument('<id...>')
    .addHelpText(
      'after',
      examples(
        ['gmem kernel rm 7.3-debug', 'all builds of this name'],
        ['gmem kernel rm ac8a96', 'one build, by the start of its key'],
      ),
    )
    .action(async (ids: string[]) => {
      for (const id of ids) {
        for (const gone of await removeKernel(id)) {
          process.stdout.write(`removed ${gone.id} ${gone.key.slice(0, 12)} (${size(gone.sizeBytes)})\n`)
        }
      }
    })
  addGc(kernel)
}

function addGc(kernel: Command): void {
  kernel
    .command('gc')
    .description(
      'remove build trees, then source packages, then the longest unused kernels, until little enough is left',
    )
    .option('--max-size <size>', 'how much may stay, as in 5G or 800M', parseSize, 5 * 1024 ** 3)
    .option('-n, --dry-run', 'only say what would go')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples(
        ['gmem kernel gc', 'down to 5 GiB'],
        ['gmem kernel gc --max-size 800M', 'down to less'],
        ['gmem kernel gc --dry-run', 'what would go'],
      ),
    )
    .action(async (flags: { maxSize: number; dryRun?: boolean; json?: boolean }) => {
      const isTry = flags.dryRun === true
      const result = await gcKernels({ maxBytes: flags.maxSize, dryRun: isTry })
      if (flags.json) {
        print(result)
        return
      }
      const [verb, freed, kept] = isTry
        ? ['would remove', 'would be freed', 'would stay']
        : ['removed', 'freed', 'kept']
      for (const path of result.removed) process.stdout.write(`${verb} ${path}\n`)
      process.stdout.write(`${size(result.freedBytes)} ${freed}, ${size(result.keptBytes)} ${kept}\n`)
    })
}

function addBuild(kernel: Command, context: CliContext): void {
  const { progress, signal } = context
  kernel
    .command('build')
    .description('build a kernel into the cache and save a VM of it, unless they are there')
    .argument(
      '[spec]',
      'a version (7.3, 6.12, 7.3.4) or a source tree; +PATCHSET and -FLAVOUR may follow',
      defaultKernelSpec(),
    )
    .option('-p, --patches <name>', 'apply a patch set; may be given several times', collect, [])
    .option('-f, --flavour <name>', 'the flavour: plain, debug, …')
    .option('-j, --jobs <n>', 'compilers at a time (default: one for each processor)', parseCount)
    .option('--update', 'look for a newer version of the series')
    .option('--no-vm', 'do not boot it to save its VM: the first gmem test does that')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', () => {
      const flavours = listFlavours().join(', ')
      const patchSets = listPatchSets().join(', ') || 'none'
      return `
Flavours: ${flavours}
Patch sets: ${patchSets}

Examples:
  gmem kernel build                          the default kernel
  gmem kernel build 7.3-debug                with KASAN, lockdep and the like
  gmem kernel build ~/linux                  your tree as it is, uncommitted changes included; it is not written to
  gmem kernel build 7.3 --patches NAME       the same as 7.3+NAME
`
    })
    .action(async (text: string, flags: BuildFlags) => {
      const startedAt = performance.now()
      const { patches, flavour } = flags
      const spec = parseKernelSpec(text, { patches, ...(flavour === undefined ? {} : { flavour }) })
      const image = await resolveKernel(spec, {
        build: true,
        progress,
        signal,
        jobs: flags.jobs,
        update: flags.update === true,
      })
      progress.end()
      if (flags.vm) await (await import('./kernel-vm.js')).saveVmOf(image, context)
      if (flags.json) {
        print(image)
        return
      }
      const took = duration(performance.now() - startedAt)
      process.stdout.write(`${pc.green('ready')} ${pc.bold(image.id)} is ${image.release}, in ${took}\n`)
      process.stdout.write(`${pc.dim(image.bzImage)}\n`)
    })
}

/** Help text with examples: commands, and what each does. */
function examples(...lines: readonly [command: string, what: string][]): string {
  const width = Math.max(...lines.map(([command]) => command.length))
  return ['\nExamples:', ...lines.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`)].join('\n')
}

async function list(json: boolean, signal: AbortSignal): Promise<void> {
  const kernels = listKernels()
  if (json) {
    print(kernels)
    return
  }
  if (kernels.length === 0) {
    process.stdout.write('No kernel is built. Build one: gmem kernel build\n')
    return
  }
  const rows = [
    ['ID', 'RELEASE', 'FLAVOUR', 'SIZE', 'BUILT', 'KEY', 'PATH'],
    ...kernels.map((kernel) => [
      kernel.id,
      kernel.release,
      kernel.flavour,
      size(kernel.sizeBytes),
      age(kernel),
      kernel.key.slice(0, 12),
      kernel.path,
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0))
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`)
  }
  const use = Object.entries(await diskUse(signal)).map(([what, bytes]) => `${what} ${size(bytes)}`)
  process.stdout.write(pc.dim(`\non disk: ${use.join(' · ')}\n`))
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

function age({ builtAt }: BuiltKernel): string {
  const minutes = Math.max(0, (Date.now() - Date.parse(builtAt)) / 60_000)
  if (minutes < 60) return `${Math.round(minutes)} min ago`
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h ago`
  return `${Math.round(minutes / 60 / 24)} days ago`
}

function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value]
}

function parseCount(value: string): number {
  if (!/^[1-9]\d{0,3}$/.test(value)) throw new InvalidArgumentError('a number from 1 to 9999 is wanted')
  return Number(value)
}

function parseSize(value: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(value)
  if (match === null) throw new InvalidArgumentError('a size is wanted, as in 5G or 800M')
  const power = 'KMGT'.indexOf((match[2] ?? '').toUpperCase() || 'x') + 1
  return Number(match[1]) * 1024 ** power
}
