// SPDX-License-Identifier: Apache-2.0

// clang-format over all C and C++: --dry-run -Werror, or with --write in place. Kernel code (vm-images/modules and patches) has the
// kernel's own style and is left alone.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const files = ['native', 'vm-images/guest', 'tests'].flatMap(sourcesBelow)
const mode = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '-Werror']
const run = spawnSync('clang-format', [...mode, ...files], { cwd: root, stdio: 'inherit' })
if (run.error) {
  process.stderr.write('check-format: clang-format is not installed: apt-get install clang-format\n')
  process.exitCode = 69
} else {
  process.exitCode = run.status ?? 1
}

function sourcesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|c|h)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
}
