// SPDX-License-Identifier: Apache-2.0

// What changed from one merged result to another, as markdown: a section for each kernel that both have. That a kernel got worse is no
// failure of this script. Usage: node scripts/compare-summary.mjs EARLIER NOW
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [earlier, now] = process.argv.slice(2)
if (now === undefined) fail('usage: node scripts/compare-summary.mjs EARLIER NOW')

const common = targetsOf(now).filter((id) => targetsOf(earlier).includes(id))
if (common.length === 0) process.stdout.write('No kernel of the baseline was tested.\n')
for (const id of common) {
  process.stdout.write(`### ${id}, against the baseline\n\n\`\`\`\n${compare(id)}\`\`\`\n\n`)
}

function targetsOf(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8')).targets.map(({ id }) => id)
  } catch (error) {
    return fail(`no result to read in ${folder}: ${error.message}`)
  }
}

function compare(id) {
  const words = [join(root, 'dist', 'cli', 'main.js'), 'compare', earlier, now, '--target', id]
  const env = { ...process.env, NO_COLOR: '1' }
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', env })
  // 1 and 3: it is worse.
  if (![0, 1, 3].includes(status)) fail(stderr)
  return stdout
}

function fail(message) {
  process.stderr.write(`compare-summary: ${message}\n`)
  process.exit(2)
}
