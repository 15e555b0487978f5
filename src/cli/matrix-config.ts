// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { z } from 'zod'
import type { MatrixConfig } from '../config.js'
import { usageError } from '../errors.js'
import { projectRoot } from '../paths.js'
import { stripAnsi } from '../report/values.js'

export const CONFIG_NAME = 'gmem.config.ts'

const EXAMPLE = `One looks like this:
  import { defineMatrix } from 'gmem/config'
  export default defineMatrix({ kernels: ['7.3'], flavours: ['plain', 'debug'] })`

const text = z.string().min(1)
const positive = z.number().positive()
const accelerator = z.enum(['auto', 'kvm', 'tcg'])
const parameters = z.string().regex(/^[^\n]*$/, 'one line is wanted')

const excludeSchema = z.strictObject({
  kernel: text.optional(),
  flavour: text.optional(),
  parameters: parameters.optional(),
  accelerator: accelerator.optional(),
})

/** What it must look like; what its values mean is for matrixCells() to check. */
const matrixSchema = z.strictObject({
  kernels: z.array(text).min(1),
  flavours: z.array(text).min(1).optional(),
  parameters: z.array(parameters).min(1).optional(),
  accelerators: z.array(accelerator).min(1).optional(),
  exclude: z
    .array(excludeSchema.refine((rule) => Object.keys(rule).length > 0, 'it names nothing to exclude'))
    .optional(),
  files: z.array(text).min(1).optional(),
  tests: text.refine(isPattern, 'it is no regular expression').optional(),
  all: z.boolean().optional(),
  retries: z.int().min(0).optional(),
  timeout: positive.optional(),
  slowdown: positive.optional(),
  splats: z.enum(['fail', 'warn', 'off']).optional(),
  leaks: z.enum(['fail', 'off']).optional(),
  allow: text.optional(),
})

/** A configuration that was read and has the right shape. */
export interface LoadedConfig {
  /** Absolute. */
  readonly file: string
  readonly config: MatrixConfig
}

/** Reads the matrix of a file, gmem.config.ts of the current folder where none is given. Throws a usage error that names the field. */
export async function loadMatrixConfig(given: string | undefined): Promise<LoadedConfig> {
  const file = resolve(given ?? CONFIG_NAME)
  if (!existsSync(file)) {
    const which =
      given === undefined ? `there is no ${CONFIG_NAME} in ${dirname(file)}` : `there is no ${file}`
    throw usageError(which, EXAMPLE)
  }
  return { file, config: checkMatrix(await importConfig(file), file) }
}

/** The matrix that a file exports, checked. Throws a usage error with a line for each field that is wrong. */
export function checkMatrix(exported: unknown, file: string): MatrixConfig {
  const name = nameOf(file)
  if (exported === undefined) throw usageError(`${name} has no default export`, EXAMPLE)
  const { success, data, error } = matrixSchema.safeParse(exported)
  // The optional fields of zod's type may hold undefined, which is as good as leaving them out.
  if (success) return data as MatrixConfig
  const lines = error.issues.map((issue) => `${name}: ${problemOf(issue)}`)
  throw usageError(lines.join('\n'))
}

/** How messages call the file: as short as can be found from the current folder. */
export function nameOf(file: string): string {
  const path = relative(process.cwd(), file)
  return path.startsWith('..') ? file : path
}

/** With vite, which vitest has anyway: it knows TypeScript, and `gmem/config` wherever the file is. */
async function importConfig(file: string): Promise<unknown> {
  const { createViteServer } = await import('vitest/node')
  const server = await createViteServer({
    configFile: false,
    envDir: false,
    root: dirname(file),
    logLevel: 'silent',
    appType: 'custom',
    optimizeDeps: { noDiscovery: true, include: [] },
    server: { middlewareMode: true, ws: false, hmr: false, watch: null },
    resolve: { alias: { 'gmem/config': join(projectRoot, 'dist', 'config.js') } },
  })
  try {
    const module = await server.ssrLoadModule(file)
    return module.default
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw usageError(`${nameOf(file)} cannot be loaded: ${stripAnsi(reason).trim()}`)
  } finally {
    await server.close()
  }
}

/** `exclude[0].kernel: Invalid input: expected string, received number`. */
function problemOf(issue: z.core.$ZodIssue): string {
  const field = fieldName(issue.path)
  if (issue.code !== 'unrecognized_keys') return `${field === '' ? 'the matrix' : field}: ${issue.message}`
  const unknown = issue.keys.map((key) => fieldName([...issue.path, key])).join(', ')
  const shape = field === '' ? matrixSchema.shape : excludeSchema.shape
  return `${unknown}: there is no such field; there are ${Object.keys(shape).join(', ')}`
}

function fieldName(path: readonly PropertyKey[]): string {
  const parts = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
  return parts.join('').replace(/^\./, '')
}

function isPattern(pattern: string): boolean {
  try {
    new RegExp(pattern)
    return true
  } catch {
    return false
  }
}
