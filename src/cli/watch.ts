// SPDX-License-Identifier: Apache-2.0
import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { GmemError, interruptedError, usageError } from '../errors.js'
import { projectRoot } from '../paths.js'
import type { TargetResult } from '../report/schema.js'
import { createTemporaryFolder } from '../temporary.js'
import type { CliContext } from './context.js'
import { duration } from './progress.js'
import { addRunOptions, type RunFlags, runArguments } from './run-options.js'
import { SavedFiles, watchedFolders } from './watch-files.js'

interface WatchFlags extends RunFlags {
  readonly tree: string
}

const HELP = `
Watched: virt/kvm, arch/x86/kvm, arch/x86/include, include and mm of the tree, and the tests. What is saved while a build or a run
is under way ends that, and starts the next. The tree is built in the cache, not in place; only what changed is compiled.

Examples:
  gmem watch --tree ~/linux conversion       build the tree, run the files with "conversion" in their names, again for each save
  gmem watch --tree ~/linux -t 'made private'
`

/** Adds `gmem watch`. */
export function register(program: Command, context: CliContext): void {
  const command = program
    .command('watch')
    .summary('save a file of the kernel tree or a test, and get a verdict')
    .description(
      'Builds a kernel tree and runs the tests, again each time a file of either is saved; says what that changed.',
    )
    .argument('[filter...]', 'parts of test files’ names')
    .requiredOption('--tree <dir>', 'the kernel source tree')
  addRunOptions(command).addHelpText('after', HELP)
  command.action(async (filters: string[], { tree, ...flags }: WatchFlags) => {
    const path = resolve(tree)
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw usageError(`${path} is no folder`, 'Name a kernel source tree.')
    await watchTree(path, runArguments(filters, flags, { isRepeated: true }), context)
  })
}

/** Runs until the signal ends it. Throws where the first build fails for another reason than the source. */
async function watchTree(tree: string, args: readonly string[], context: CliContext): Promise<void> {
  const folder = await createTemporaryFolder('watch')
  let wake = (): void => {}
  let saved: readonly string[] = []
  let running = new AbortController()
  const files = new SavedFiles(watchedFolders(tree, join(projectRoot, 'tests/kernel')), tree, (names) => {
    saved = [...new Set([...saved, ...names])]
    running.abort()
    wake()
  })
  context.signal.addEventListener('abort', () => wake(), { once: true })
  let before: TargetResult | null = null
  try {
    for (let count = 1; !context.signal.aborted; count++) {
      running = new AbortController()
      const because = saved
      saved = []
      const signal = AbortSignal.any([context.signal, running.signal])
      const after = await verdict(tree, args, join(folder.path, String(count)), before, because, {
        ...context,
        signal,
      })
      before = after ?? before
      if (saved.length > 0 || context.signal.aborted) continue
      process.stdout.write('waiting for a file to be saved (Ctrl-C ends this)\n')
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    throw interruptedError()
  } finally {
    files.close()
    await folder.remove()
  }
}

/** Builds, runs, and says what came of it. Null where there is no result: it does not build, or something was saved meanwhile. */
async function verdict(
  tree: string,
  args: readonly string[],
  folder: string,
  before: TargetResult | null,
  because: readonly string[],
  { progress, signal }: CliContext,
): Promise<TargetResult | null> {
  const [{ resolveKernel }, { runChild }] = await Promise.all([
    import('../kernels/index.js'),
    import('./child-run.js'),
  ])
  const what = because.length === 0 ? 'as it was found' : because.join(', ')
  const start = performance.now()
  try {
    const kernel = await resolveKernel(tree, { build: true, progress, signal })
    const builtMs = performance.now() - start
    progress.phase(`testing ${kernel.id}`)
    const { target } = await runChild(kernel, args, folder, signal)
    progress.end()
    const times = `${duration(performance.now() - start)} after that, ${duration(builtMs)} of it to build`
    process.stdout.write(`\n${what}: ${times}\n${(await verdictLines(before, target)).join('\n')}\n`)
    return target
  } catch (error) {
    progress.end()
    if (signal.aborted) return null
    if (!(error instanceof GmemError)) throw error
    process.stdout.write(`\n${what}: ${error.message}\n${error.hint ?? ''}\n`)
    return null
  }
}

/** What changed since the run before, every test that fails with why, and the counts. */
async function verdictLines(before: TargetResult | null, target: TargetResult): Promise<string[]> {
  const failures = target.tests
    .filter(({ status }) => status === 'failed')
    .map(({ file, name, error }) => `✗ ${file}: ${name}\n    ${error?.message.split('\n')[0] ?? ''}`)
  const counts = `${target.passed} passed, ${target.failed} failed, ${target.skipped} skipped`
  if (before === null) return [...failures, counts]
  const [{ compareTargets }, { changeCounts }] = await Promise.all([
    import('../report/compare.js'),
    import('../report/compare-text.js'),
  ])
  const changes = changeCounts(compareTargets([before], [target]).changes)
  return [...failures, `${counts}; since the last run: ${changes === '' ? 'no change' : changes}`]
}
