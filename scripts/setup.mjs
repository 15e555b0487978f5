// SPDX-License-Identifier: Apache-2.0

// Makes a clone ready to run: system packages, node_modules, the addon, dist. Needs nothing but Node and npm, and does only what
// is not done yet. Exits with 69 where something cannot be set up, and says what to do.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const INFRASTRUCTURE_FAILED = 69
const HEARTBEAT_MS = 30_000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const inRoot = (...parts) => join(root, ...parts)
const read = (...parts) => readFileSync(inRoot(...parts), 'utf8')

try {
  checkNode()
  await installSystemPackages()
  await installNodeModules()
  await Promise.all([buildAddon(), compileTypeScript()])
  linkCommand()
} catch (error) {
  process.stderr.write(`setup: ${error.expected ? error.message : error.stack}\n`)
  process.exitCode = INFRASTRUCTURE_FAILED
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const good = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw failure(`gmem runs on x86-64 Linux; this is ${process.platform} on ${process.arch}`)
  }
  if (!good)
    throw failure(
      `Node ${process.versions.node} is not supported: install ${JSON.parse(read('package.json')).engines.node}`,
    )
}

async function installSystemPackages() {
  const missing = JSON.parse(read('scripts', 'requirements.json')).requirements.filter(
    (entry) => !isThere(entry),
  )
  const needed = missing.filter(({ optional }) => optional === undefined)
  if (missing.length === 0) return
  if (process.getuid() !== 0 || !findProgram('apt-get')) {
    if (needed.length > 0) throw failure(howToInstall(missing))
    return
  }
  const packages = [...new Set(missing.map(({ debian }) => debian))]
  const apt = ['-o', 'DPkg::Lock::Timeout=300', '-q']
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // A third party's repository that does not answer is no reason to stop: the installation shows what matters.
  await step('updating the package index', 'apt-get', [...apt, 'update'], { env, mayFail: true })
  const install = [...apt, 'install', '-y', '--no-install-recommends', ...packages]
  await step(`installing ${packages.join(' ')}`, 'apt-get', install, { env })
  const still = needed.filter((entry) => !isThere(entry))
  if (still.length > 0) throw failure(`installed, but still not found: ${still.map(nameOf).join(', ')}`)
}

// npm links no package's own command. Without the link `npx gmem` would install this folder as a package of npx's, addon and all.
function linkCommand() {
  const link = inRoot('node_modules', '.bin', 'gmem')
  mkdirSync(dirname(link), { recursive: true })
  rmSync(link, { force: true })
  symlinkSync(relative(dirname(link), inRoot('dist', 'cli', 'main.js')), link)
  chmodSync(inRoot('dist', 'cli', 'main.js'), 0o755)
}

function howToInstall(missing) {
  const list = (family) => [...new Set(missing.map((entry) => entry[family]))].join(' ')
  const what = missing.map((entry) => `  ${nameOf(entry).padEnd(20)} ${entry.optional ?? entry.why}`)
  return `these are missing:
${what.join('\n')}
Install them, then run this again:
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${list('debian')}
  Fedora:          sudo dnf install ${list('fedora')}
  Arch:            sudo pacman -S --needed ${list('arch')}`
}

function nameOf({ program, header, library }) {
  return program ?? header ?? library
}

// Looked up, not run: this must cost nothing when all is there. `gmem doctor` runs them.
function isThere({ program, header, library }) {
  if (program !== undefined) return findProgram(program)
  const folders =
    header !== undefined
      ? ['/usr/include', '/usr/include/x86_64-linux-gnu', '/usr/local/include']
      : ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib']
  return folders.some((folder) => existsSync(join(folder, header ?? library)))
}

function findProgram(name) {
  const folders = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':').filter((folder) => folder !== '')
  return folders.some((folder) => existsSync(join(folder, name)))
}

async function installNodeModules() {
  const stamp = inRoot('node_modules', '.gmem-lock')
  const wanted = hashOf([read('package-lock.json')])
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  if (!isInstalled()) {
    const npm = process.env.npm_execpath
    const [program, ...first] = npm ? [process.execPath, npm] : ['npm']
    await step('installing node_modules', program, [
      ...first,
      'ci',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
    ])
  }
  writeFileSync(stamp, wanted)
}

// npm leaves a copy of the lock beside what it installed: equal entries mean that there is nothing to do.
function isInstalled() {
  if (!existsSync(inRoot('node_modules', '.package-lock.json'))) return false
  const wanted = JSON.parse(read('package-lock.json')).packages
  const present = JSON.parse(read('node_modules', '.package-lock.json')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || present[path]?.version === version,
  )
}

async function buildAddon() {
  await step('building the native addon', process.execPath, [inRoot('scripts', 'build-addon.mjs')])
}

async function compileTypeScript() {
  const sources = filesBelow('src').filter((path) => /\.tsx?$/.test(path))
  const configs = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json']
  const wanted = hashOf([...sources, ...configs].sort().flatMap((path) => [path, read(path)]))
  const stamp = inRoot('dist', '.stamp')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  rmSync(stamp, { force: true })
  // tsc believes its notes, not what is there: without its output the notes are wrong.
  if (!existsSync(inRoot('dist', 'cli', 'main.js'))) rmSync(inRoot('dist', '.tsbuildinfo'), { force: true })
  await step('compiling TypeScript', process.execPath, [
    inRoot('node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    inRoot('tsconfig.build.json'),
    '--pretty',
    'false',
  ])
  removeOrphans(sources)
  mkdirSync(inRoot('dist'), { recursive: true })
  writeFileSync(stamp, wanted)
}

// What a removed source was compiled to would go on being imported.
function removeOrphans(sources) {
  const wanted = new Set(sources.map((path) => path.replace(/^src/, 'dist').replace(/\.tsx?$/, '.js')))
  for (const path of filesBelow('dist')) {
    const script = path.replace(/\.map$/, '')
    if (script.endsWith('.js') && !wanted.has(script)) rmSync(inRoot(path))
  }
}

function filesBelow(folder) {
  return readdirSync(inRoot(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
}

function hashOf(texts) {
  const hash = createHash('sha256')
  for (const text of [process.versions.modules, ...texts]) hash.update(`${text.length}:`).update(text)
  return hash.digest('hex')
}

// Runs a program to its end. Says what it does while that takes long, and shows the end of its output where it fails.
async function step(title, program, args, { env = process.env, mayFail = false } = {}) {
  const startedAt = Date.now()
  const seconds = () => `${((Date.now() - startedAt) / 1000).toFixed(1)} s`
  const announce = setTimeout(() => process.stderr.write(`setup: ${title} …\n`), 1000)
  const heartbeat = setInterval(() => process.stderr.write(`setup: ${title} … ${seconds()}\n`), HEARTBEAT_MS)
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => output.push(data))
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      output.push(Buffer.from(error.message))
      resolve(-1)
    })
    child.once('close', (status, signal) => resolve(status ?? signal))
  })
  clearTimeout(announce)
  clearInterval(heartbeat)
  if (code === 0) {
    if (Date.now() - startedAt > 1000) process.stderr.write(`setup: ${title}: ${seconds()}\n`)
    return
  }
  if (mayFail) return
  // npm tells the reason first, a compiler last.
  const lines = Buffer.concat(output).toString('utf8').trimEnd().split('\n')
  const shown = lines.length <= 30 ? lines : [...lines.slice(0, 10), '…', ...lines.slice(-20)]
  throw failure(
    `${title} failed (${[program, ...args].join(' ')}: ${code})\n${shown.map((line) => `  ${line}`).join('\n')}`,
  )
}

function failure(message) {
  return Object.assign(new Error(message), { expected: true })
}
