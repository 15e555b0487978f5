// SPDX-License-Identifier: Apache-2.0
import { isAbsolute, relative } from 'node:path'
import type { SerializedError, TestModule } from 'vitest/node'
import type { Position, ReportedError } from './schema.js'
import { hexBigints, stripAnsi } from './values.js'

type ParsedStack = NonNullable<SerializedError['stacks']>[number]

/** An error of vitest's as plain data. `module` tells which of its frames is the test's own. */
export function reportedError(
  error: SerializedError,
  module: TestModule | undefined,
  root: string,
): ReportedError {
  const stacks = error.stacks ?? []
  const own =
    stacks.find((frame) => frame.file === module?.moduleId) ?? stacks.find((frame) => isOurs(frame, root))
  const { diff } = error as { diff?: string }
  return {
    name: error.name ?? 'Error',
    message: readableMessage([error.message, ...causes(error)].join('\ncaused by ')),
    ...(diff && isWorthShowing(diff) && { diff: hexBigints(stripAnsi(diff)) }),
    ...(own && { at: position(own, root) }),
    ...(stacks.length > 0 && { stack: stacks.map((frame) => frameLine(frame, root)).join('\n') }),
  }
}

/** `tests/kernel/x.test.ts`: as short as it is unambiguous. */
export function projectPath(file: string, root: string): string {
  const path = relative(root, file)
  return path.startsWith('..') || isAbsolute(path) ? file : path
}

function causes({ cause }: SerializedError, depth = 3): string[] {
  if (depth === 0 || typeof cause !== 'object' || cause === null || typeof cause.message !== 'string')
    return []
  return [cause.message, ...causes(cause, depth - 1)]
}

/** Without what vitest adds for people who test web pages. */
export function readableMessage(message: string): string {
  return hexBigints(stripAnsi(message))
    .replace(/ \/\/ Object\.is equality$/, '')
    .replace(/(timed out in \d+ ?ms\.)\nIf this is a long-running [\s\S]*/, '$1')
}

/** A diff of one line against one line says nothing that `expected A to be B` has not said. */
function isWorthShowing(diff: string): boolean {
  const lines = stripAnsi(diff)
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^(- Expected|\+ Received)/.test(line))
  return lines.length > 2
}

function isOurs(frame: ParsedStack, root: string): boolean {
  return frame.file.startsWith(`${root}/`) && !/\/(node_modules|dist)\//.test(frame.file)
}

function position(frame: ParsedStack, root: string): Position {
  return { file: projectPath(frame.file, root), line: frame.line, column: frame.column }
}

function frameLine(frame: ParsedStack, root: string): string {
  const place = `${projectPath(frame.file, root)}:${frame.line}:${frame.column}`
  return frame.method ? `at ${frame.method} (${place})` : `at ${place}`
}
