// SPDX-License-Identifier: Apache-2.0

// Builds the native addon with node-gyp: build/Release/gmem.node. Does nothing where no input has changed, and says nothing but
// what goes wrong and that it takes a while. Downloads nothing: the headers are those of the Node that runs this.
//
//   node scripts/build-addon.mjs               build/Release/gmem.node
//   node scripts/build-addon.mjs --sanitize    build/sanitize/build/Release/gmem.node, with ASan and UBSan; run it with
//                                              GMEM_ADDON=<that file> LD_PRELOAD="$(g++ -print-file-name=libasan.so)"
//   node scripts/build-addon.mjs --force       even where no input has changed
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const INFRASTRUCTURE_FAILED = 69
const USAGE = 2

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const options = new Set(process.argv.slice(2))
for (const option of options) {
  if (option !== '--sanitize' && option !== '--force')
    fail(USAGE, `unknown option ${option}: use --sanitize, --force`)
}
main(options.has('--sanitize'), options.has('--force'))

function main(sanitize, force) {
  const nodeGyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js')
  if (!existsSync(nodeGyp)) fail(INFRASTRUCTURE_FAILED, 'node-gyp is not installed: run npm ci')
  const nodedir = findNodedir()
  const directory = sanitize ? sanitizeFolder() : root
  const output = join(directory, 'build/Release/gmem.node')
  const stamp = `${output}.inputs`
  const inputs = hashInputs(nodedir, sanitize)
  if (!force && existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return

  process.stderr.write(
    `building the native addon${sanitize ? ' with ASan and UBSan' : ''} (${sanitize ? 'a few minutes' : 'about half a minute'})\n`,
  )
  rmSync(stamp, { force: true })
  const common = [`--directory=${directory}`, `--nodedir=${nodedir}`]
  // Two steps, because what follows `--` goes to gyp in one and to make in the other.
  runNodeGyp(nodeGyp, directory, ['configure', ...common, '--', `-Dsanitize=${sanitize ? 1 : 0}`])
  runNodeGyp(nodeGyp, directory, ['build', ...common, `--jobs=${availableParallelism()}`])
  writeFileSync(stamp, inputs)
}

function runNodeGyp(nodeGyp, cwd, args) {
  const run = spawnSync(process.execPath, [nodeGyp, ...args], { cwd, encoding: 'utf8', maxBuffer: 64 << 20 })
  if (run.status === 0) return
  process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? ''}${run.error ? `${run.error.message}\n` : ''}`)
  fail(INFRASTRUCTURE_FAILED, 'the native addon did not build: it needs g++ 10 or newer, make and Python 3')
}

// The folder above include/node: node-gyp would otherwise fetch the headers.
function findNodedir() {
  const nodedir = process.env.npm_config_nodedir || dirname(dirname(realpathSync(process.execPath)))
  const header = join(nodedir, 'include/node/node_api.h')
  if (!existsSync(header)) {
    fail(
      INFRASTRUCTURE_FAILED,
      `Node's headers are not beside it (no ${header}): install Node with its headers, or set npm_config_nodedir to a folder that has include/node`,
    )
  }
  return nodedir
}

// node-gyp builds beside binding.gyp only: links give the other build a folder of its own.
function sanitizeFolder() {
  const folder = join(root, 'build/sanitize')
  mkdirSync(folder, { recursive: true })
  for (const name of ['binding.gyp', 'native', 'node_modules', 'package.json']) {
    const link = join(folder, name)
    if (!existsSync(link)) symlinkSync(join('../..', name), link)
  }
  return folder
}

function hashInputs(nodedir, sanitize) {
  const hash = createHash('sha256')
  const sources = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
  const files = ['binding.gyp', 'scripts/build-addon.mjs', 'node_modules/node-addon-api/package.json']
  for (const file of [...files.map((name) => join(root, name)), ...sources]) {
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  }
  const environment = ['CC', 'CXX', 'CFLAGS', 'CXXFLAGS', 'LDFLAGS'].map((name) => process.env[name])
  return hash
    .update(JSON.stringify([process.version, process.arch, nodedir, sanitize, environment]))
    .digest('hex')
}

function fail(code, message) {
  process.stderr.write(`build-addon: ${message}\n`)
  process.exit(code)
}
