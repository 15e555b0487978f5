// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { usageError } from '../errors.js'
import { resultText } from '../report/artefacts.js'
import { githubAnnotations, writeStepSummary } from '../report/github.js'
import { junit } from '../report/junit.js'
import { ktap } from '../report/ktap.js'
import type { RunResult } from '../report/schema.js'
import type { Screen } from '../report/screen.js'

/** What a report option without a file means. */
export const STDOUT = '-'

/** The reports to write beside the terminal's: a file, or `-` for the standard output. */
export interface Outputs {
  readonly json?: string | undefined
  readonly ktap?: string | undefined
  readonly junit?: string | undefined
  /** Annotations and step summary of GitHub Actions. */
  readonly github: boolean
}

const WRITERS = { json: resultText, ktap, junit } as const
const FORMATS = ['json', 'ktap', 'junit'] as const

/** Finds what would fail at the very end of a run before it starts. Throws a usage error. */
export function checkOutputs(outputs: Outputs): void {
  const toStdout = FORMATS.filter((format) => outputs[format] === STDOUT)
  if (toStdout.length > 1) {
    const [first, second] = toStdout
    throw usageError(
      `--${first} and --${second} cannot both go to the standard output`,
      `Write --${second}=FILE.`,
    )
  }
  for (const format of FORMATS) {
    const file = outputs[format]
    if (file === undefined || file === STDOUT) continue
    checkWritable(format, file)
  }
}

/** Throws a usage error where the file of an option cannot be written. */
export function checkWritable(option: string, file: string): void {
  const folder = dirname(resolve(file))
  try {
    accessSync(folder, constants.W_OK)
  } catch {
    throw usageError(`--${option}=${file}: the folder ${folder} is not there, or not writable`)
  }
}

/** Whether a report takes the standard output, so that what is for people must go to the standard error. */
export function usesStdout(outputs: Outputs): boolean {
  return FORMATS.some((format) => outputs[format] === STDOUT)
}

/** Writes every report asked for. */
export async function writeOutputs(run: RunResult, outputs: Outputs, screen: Screen): Promise<void> {
  for (const format of FORMATS) {
    const file = outputs[format]
    if (file === STDOUT) process.stdout.write(WRITERS[format](run))
    else if (file !== undefined) await writeFile(resolve(file), WRITERS[format](run))
  }
  if (!outputs.github) return
  const annotations = githubAnnotations(run)
  if (annotations.length > 0) screen.print(annotations)
  await writeStepSummary(run)
}
