// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { resolveKernel } from '../../../src/kernels/index.js'
import { projectRoot } from '../../../src/paths.js'
import { Sandbox } from './run-gmem.js'

/** Files that a copy of gmem needs beside its dist. */
const FILES = ['package.json', 'build/Release/gmem.node']
/** What a VM rehearses before it is saved. */
const REHEARSAL = 'tests/rehearsal'
const CONTRACT = join(projectRoot, 'tests/harness/support/contract')

/** A copy of this gmem whose contract is the few files of support/contract: quick, known, and with failures on purpose. */
export interface SmallProject {
  readonly root: string
  remove(): void
}

/** Makes the copy below build/, from where node_modules is found as the original finds it. */
export function createSmallProject(): SmallProject {
  const root = mkdtempSync(join(projectRoot, 'build', 'harness-'))
  cpSync(join(projectRoot, 'dist'), join(root, 'dist'), { recursive: true })
  cpSync(join(projectRoot, REHEARSAL), join(root, REHEARSAL), { recursive: true })
  mkdirSync(join(root, 'build/Release'), { recursive: true })
  mkdirSync(join(root, 'tests/kernel'), { recursive: true })
  for (const file of FILES) copyFileSync(join(projectRoot, file), join(root, file))
  symlinkSync(join(projectRoot, 'vm-images'), join(root, 'vm-images'))
  for (const name of readdirSync(CONTRACT)) {
    copyFileSync(join(CONTRACT, name), join(root, 'tests/kernel', name.replace(/\.ts$/, '.test.ts')))
  }
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) }
}

/** Where the tests of a file run a small project's gmem. */
export interface SmallProjectSetup {
  readonly box: Sandbox
  /** The small project's folder. */
  readonly root: string
  /** The default kernel's. */
  readonly image: string
}

/**
 * Makes a small project and a sandbox for the tests of a file, removes them after the last one, and fails a test that leaves something
 * behind. The fields are there once the hooks have run: in tests and in other hooks.
 */
export function setUpSmallProject(): SmallProjectSetup {
  let set: (Omit<SmallProjectSetup, 'root'> & { readonly project: SmallProject }) | null = null
  const made = (): NonNullable<typeof set> => {
    if (set === null) throw new Error('the small project is there in tests and hooks only')
    return set
  }
  beforeAll(async () => {
    const image = await builtImage()
    const project = createSmallProject()
    set = { image, project, box: await Sandbox.create(project.root) }
  })
  afterAll(async () => {
    await set?.box.remove()
    set?.project.remove()
  })
  afterEach(async () => expect(await made().box.leftovers()).toEqual([]))
  return {
    get box() {
      return made().box
    },
    get root() {
      return made().project.root
    },
    get image() {
      return made().image
    },
  }
}

/** The image of the default kernel; its modules lie beside it. Throws where it is not built: nothing here builds one. */
export async function builtImage(): Promise<string> {
  return (await resolveKernel(undefined, { build: false })).bzImage
}
