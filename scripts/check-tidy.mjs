// SPDX-License-Identifier: Apache-2.0

// The rules that no linter knows: sizes of files and functions, imports that only point down, no import cycles, a licence in every file,
// no address of a registry or mirror. Prints each offence with its place; exit code 1 when there is one.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** From the top down: a folder imports only from those after it. Files directly in src/ are below all of them. */
const layers = ['cli', 'report', 'pool', 'qemu', 'kernels', 'model', 'testing', 'kvm', 'binding', 'abi']
/** Below everything, and importing nothing but what lies directly in src/. */
const leaves = ['channel', 'splats']
const linesMax = [
  [/^src\/.*\.ts$/, 250],
  [/^(native|vm-images\/guest)\/.*\.(cc|c|h|S)$/, 400],
  [/^(tests|scripts)\/.*\.(ts|mjs)$/, 400],
]
const functionLinesMax = 70
const sourceFile = /\.(ts|mjs|cc|c|h|S)$|(^|\/)Makefile$/
const knownHosts =
  /^(vitest\.dev|www\.w3\.org|github\.com|json-schema\.org|www\.apache\.org|lore\.kernel\.org|docs\.kernel\.org|git\.kernel\.org)$/

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const offences = []
const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\0')
  .filter((path) => path !== '')
const imports = new Map()

for (const path of files) {
  const text = readText(path)
  if (text === null) continue
  checkSize(path, text)
  checkLicence(path, text)
  checkHosts(path, text)
  if (/^(src|tests)\/.*\.ts$/.test(path)) checkTypeScript(path, text)
}
checkCycles()
for (const offence of offences) process.stderr.write(`${offence}\n`)
process.exitCode = offences.length === 0 ? 0 : 1

function readText(path) {
  try {
    const content = readFileSync(join(root, path))
    return content.includes(0) ? null : content.toString('utf8')
  } catch {
    return null // Deleted, not yet staged.
  }
}

function checkSize(path, text) {
  const lines = text.split('\n').length - 1
  const limit = linesMax.find(([pattern]) => pattern.test(path))?.[1]
  if (limit !== undefined && lines > limit)
    offences.push(`${path}: ${lines} lines, at most ${limit} are allowed`)
}

function checkLicence(path, text) {
  if (!sourceFile.test(path)) return
  const first = text.split('\n').slice(0, 2).join('\n')
  if (!first.includes('SPDX-License-Identifier: ')) offences.push(`${path}:1: no SPDX-License-Identifier`)
}

function checkHosts(path, text) {
  if (path === 'package-lock.json' ? !text.includes('"resolved": "http') : path.endsWith('.patch')) return
  if (path === 'package-lock.json')
    offences.push(`${path}: has download addresses: run npm install with this folder's .npmrc`)
  for (const [, host] of text.matchAll(/\b(?:https?|ftp):\/\/([\w.-]+)/g)) {
    if (!knownHosts.test(host) && host.includes('.')) offences.push(`${path}: address of ${host}`)
  }
}

function checkTypeScript(path, text) {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const targets = []
  const visit = (node) => {
    checkFunction(path, source, node)
    const target = importTarget(node)
    if (target?.startsWith('.'))
      targets.push({ target: normalize(join(dirname(path), target)).replace(/\.js$/, '.ts'), node })
    ts.forEachChild(node, visit)
  }
  visit(source)
  if (!path.startsWith('src/')) return
  for (const { target } of targets) checkLayer(path, target)
  // Types are gone when modules are loaded, and so is a lazy import's place in the order.
  const eager = targets.filter(({ node }) => !ts.isCallExpression(node) && !isTypeOnly(node))
  imports.set(
    path,
    eager.map(({ target }) => target),
  )
}

function importTarget(node) {
  if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
    return node.moduleSpecifier.text
  const isLazy = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
  return isLazy && ts.isStringLiteral(node.arguments[0]) ? node.arguments[0].text : undefined
}

function isTypeOnly(node) {
  return ts.isExportDeclaration(node) ? node.isTypeOnly : Boolean(node.importClause?.isTypeOnly)
}

function checkFunction(path, source, node) {
  if (!ts.isFunctionLike(node) || node.body === undefined) return
  // A test file's describe block is no function in this sense: it holds tests.
  if (path.startsWith('tests/') && !ts.isFunctionDeclaration(node)) return
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line
  const lines = lineOf(node.end) - lineOf(node.getStart(source)) + 1
  if (lines > functionLinesMax) {
    offences.push(
      `${path}:${lineOf(node.getStart(source)) + 1}: a function of ${lines} lines, at most ${functionLinesMax} are allowed`,
    )
  }
}

function checkLayer(path, target) {
  const [from, to] = [path, target].map((file) => file.split('/').slice(1, -1)[0])
  if (to === undefined || from === to || leaves.includes(to)) return
  const allowed = from !== undefined && layers.includes(from) && layers.indexOf(to) > layers.indexOf(from)
  if (!allowed) offences.push(`${path}: imports ${target}, but ${from ?? 'src'} is not above ${to}`)
}

function checkCycles() {
  const done = new Set()
  const walk = (path, trail) => {
    const at = trail.indexOf(path)
    if (at >= 0) offences.push(`import cycle: ${[...trail.slice(at), path].join(' -> ')}`)
    if (at >= 0 || done.has(path)) return
    for (const target of imports.get(path) ?? []) walk(target, [...trail, path])
    done.add(path)
  }
  for (const path of imports.keys()) walk(path, [])
}
