// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { resultJsonSchema } from '../src/report/schema.js'

/** Writes schema/result.schema.json from src/report/schema.ts; tests/unit/report-schema.test.ts compares the two. */
const file = fileURLToPath(new URL('../schema/result.schema.json', import.meta.url))
await writeFile(file, `${JSON.stringify(resultJsonSchema(), null, 2)}\n`)
