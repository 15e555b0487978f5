// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { resultJsonSchema, runSchema } from '../../src/report/schema.js'
import { exampleRun } from './report-example.js'

const file = new URL('../../schema/result.schema.json', import.meta.url)

describe('the schema of a result', () => {
  test('is the one that is kept in schema/ (npx tsx scripts/write-schema.ts writes it)', () => {
    const kept: unknown = JSON.parse(readFileSync(file, 'utf8'))

    expect(kept).toEqual(JSON.parse(JSON.stringify(resultJsonSchema())))
  })

  test('accepts a run that has one of everything', () => {
    expect(runSchema.parse(exampleRun())).toEqual(exampleRun())
  })

  test('demands what issue 2 promises to scripts', () => {
    const kept = JSON.parse(readFileSync(file, 'utf8'))
    const target = kept.properties.targets.items

    expect(target.required).toEqual(
      expect.arrayContaining(
        'id kernel accel passed failed skipped knownIssues durationMs firstResultMs tests'.split(' '),
      ),
    )
    expect(target.properties.tests.items.required).toEqual(['file', 'name', 'status', 'durationMs'])
  })

  test('refuses a status that it does not know', () => {
    const run = exampleRun()
    Object.assign(run.targets[0]?.tests[0] ?? {}, { status: 'fine' })

    expect(runSchema.safeParse(run).error?.issues[0]?.path).toEqual(['targets', 0, 'tests', 0, 'status'])
  })

  test('refuses a negative count', () => {
    expect(runSchema.safeParse({ ...exampleRun(), passed: -1 }).success).toBe(false)
  })
})
