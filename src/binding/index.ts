// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Addon } from './addon.js'
import { KernelError } from './kernel-error.js'
import { Recorder } from './recorder.js'
import { Trace } from './trace.js'

export { KernelError, refusalOf } from './kernel-error.js'
export type { TraceBytes, TraceEntry, TraceObject, TraceValue } from './trace.js'

/** The native addon with every call recorded, and the record. */
export interface Binding {
  readonly addon: Addon
  readonly trace: Trace
}

/** Loaded once per JavaScript environment. An Error that says what to run where the addon was not built. */
export const binding: Binding = load()

function load(): Binding {
  const path =
    process.env.GMEM_ADDON ?? fileURLToPath(new URL('../../build/Release/gmem.node', import.meta.url))
  if (!existsSync(path))
    throw new Error(`the native addon is not built (no ${path}): run npm run build:addon`)
  const native = createRequire(import.meta.url)(path) as Addon
  native.initialize(KernelError)

  const trace = new Trace()
  const recorder = new Recorder(trace)
  for (const [name, { prototype }] of Object.entries(native.classes)) recorder.wrapClass(name, prototype)
  const addon = Object.fromEntries(
    Object.entries(native).map(([name, value]) => [
      name,
      typeof value === 'function' && name !== 'initialize' ? recorder.wrapFunction(name, value) : value,
    ]),
  ) as unknown as Addon
  return { addon, trace }
}
