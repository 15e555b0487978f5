// SPDX-License-Identifier: Apache-2.0
import { statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { interruptedError, usageError } from '../errors.js'
import { projectRoot } from '../paths.js'
import { createTemporaryFolder } from '../temporary.js'
import type { CliContext } from './context.js'
import { addRunOptions, type RunFlags, randomSeed } from './run-options.js'
import { SavedFiles, watchedFolders } from './watch-files.js'
import { JudgedSources } from './watch-sources.js'
import { type Judged, verdict, type WatchRequest } from './watch-verdict.js'

interface WatchFlags extends RunFlags {
  readonly tree: string
}

const HELP = `
Watched: virt/kvm, arch/x86/kvm, arch/x86/include, include and mm of the tree, and the tests. What is saved while a build or a run
is under way ends that, and starts the next. The tree is built in the cache, not in place; only what changed is compiled.

Where bodies of functions changed and nothing else, the tests that run these functions come first, with a verdict of their own (where
they take long, some that take each way through the functions); the others follow. tests/kernel/reach.json knows them, for the
functions that gmem coverage counts.

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
    const seed = flags.seed ?? randomSeed()
    await watchTree({ tree: path, filters, flags: { ...flags, seed } }, context)
  })
}

/** Runs until the signal ends it. Throws where the first build fails for another reason than the source. */
async function watchTree(request: WatchRequest, context: CliContext): Promise<void> {
  const { tree } = request
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
  const sources = new JudgedSources(tree)
  let judged: Judged | null = null
  try {
    for (let count = 1; !context.signal.aborted; count++) {
      running = new AbortController()
      const because = saved
      saved = []
      sources.note(because)
      const signal = AbortSignal.any([context.signal, running.signal])
      const round = {
        folder: join(folder.path, String(count)),
        what: because.length === 0 ? 'as it was found' : because.join(', '),
        before: judged?.target ?? null,
        earlier: because.some((path) => !isAbsolute(path)) ? (judged?.kernel ?? null) : null,
        changed: sources.changes(),
      }
      const after = await verdict(request, round, { ...context, signal })
      if (after !== null) sources.judged()
      judged = after ?? judged
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
