// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import type { CliContext, CliModule } from '../../src/cli/context.js'
import { projectRoot } from '../../src/paths.js'

/** What people copy commands from. */
const PAGES = [
  'README.md',
  ...readdirSync(join(projectRoot, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
  'docs/ci/lava-job.yaml',
  '.github/workflows/guest-memfd.yml',
]

/** `npx gmem …` to the end of the line, or of its code span. */
const COMMAND =
  /(?:npx )?\bgmem ((?:test|watch|rerun|compare|report|series|matrix|bisect-step|bisect|coverage|probe|bench|shell|kernel|doctor)\b[^`|\n]*)/g

const written = PAGES.flatMap((page) => {
  const text = readFileSync(join(projectRoot, page), 'utf8')
  return [...text.matchAll(COMMAND)].map(([, words = '']) => ({ page, words: words.trim() }))
})

/** The command that the words name, and the options among them. */
async function find(words: readonly string[]): Promise<{ command: Command; options: string[] }> {
  const program = new Command('gmem')
  const module = (await import(`../../src/cli/${words[0]}.ts`)) as CliModule
  module.register(program, {} as CliContext)
  const within = (parent: Command, name: string | undefined) =>
    parent.commands.find((command) => command.name() === name)
  const top = within(program, words[0]) ?? program
  const command = within(top, words[1]) ?? top
  const options = words.flatMap((word) => /^(--[a-z-]+|-[a-zA-Z])\b/.exec(word)?.[1] ?? [])
  return { command, options }
}

describe('the commands in README, docs, the workflow and the LAVA job', () => {
  test('are many', () => {
    expect(written.length).toBeGreaterThan(40)
  })

  test.each(written)('$page: gmem $words', async ({ words }) => {
    const { command, options } = await find(words.split(/\s+/))

    const known = command.options.flatMap(({ long, short }) => [long, short])
    expect(options.filter((option) => !known.includes(option))).toEqual([])
  })
})
