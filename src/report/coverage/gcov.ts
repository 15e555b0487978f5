// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { symlink, writeFile } from 'node:fs/promises'
import { basename, join, posix } from 'node:path'
import { execa } from 'execa'
import { z } from 'zod'
import { GmemError } from '../../errors.js'
import { createTemporaryFolder } from '../../temporary.js'

/** What gcov says of one source file; gcc's documentation of `gcov --json-format`, format version 1 and 2. */
const fileSchema = z.object({
  file: z.string(),
  functions: z.array(z.object({ name: z.string(), start_line: z.number(), end_line: z.number() })),
  lines: z.array(
    z.object({
      line_number: z.number(),
      count: z.number(),
      function_name: z.string().optional(),
      branches: z.array(z.object({ count: z.number(), throw: z.boolean() })),
    }),
  ),
})

export type GcovFile = z.infer<typeof fileSchema>

/** Reads counters of one object with the notes that the compiler left beside it. */
export class GcovReader {
  readonly #notes: ReadonlyMap<string, string>

  /** `notesDir`: a kernel's folder of .gcno files. Throws a GmemError where it holds none. */
  constructor(notesDir: string) {
    const notes = readdirSync(notesDir, { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith('.gcno'),
    )
    if (notes.length === 0)
      throw new GmemError(`${notesDir} holds no notes of the compiler (.gcno)`, {
        hint: 'Remove the kernel (gmem kernel rm) and run this again: it is built anew.',
      })
    this.#notes = new Map(notes.map((path) => [basename(path, '.gcno'), join(notesDir, path)]))
  }

  /** The counters of an object, by source file; none for an object that the kernel's notes do not know. */
  async read(object: string, counters: Uint8Array): Promise<GcovFile[]> {
    const notes = this.#notes.get(object)
    if (notes === undefined) return []
    const folder = await createTemporaryFolder('gcov')
    try {
      await symlink(notes, join(folder.path, `${object}.gcno`))
      await writeFile(join(folder.path, `${object}.gcda`), counters)
      const args = ['--json-format', '--stdout', '--branch-probabilities', `${object}.gcda`]
      const { stdout } = await execa('gcov', args, { cwd: folder.path, maxBuffer: 256 * 2 ** 20 })
      const { files } = z.object({ files: z.array(fileSchema) }).parse(JSON.parse(stdout))
      return files.map((file) => ({ ...file, file: posix.normalize(file.file) }))
    } catch (error) {
      throw new GmemError(`gcov could not read the counters of ${object}: ${(error as Error).message}`, {
        cause: error,
        hint: 'gcov must be of the same version as the compiler that built the kernel (package gcc).',
      })
    } finally {
      await folder.remove()
    }
  }
}
