// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { GmemError } from '../errors.js'
import { entryDir, kernelsDir, lookUpKernel, type Manifest, removeEntry } from './cache.js'
import { COUNTED_FOLDERS } from './counted.js'
import { folderBytes } from './folder.js'
import { type MakeOptions, make } from './make.js'
import { type BuildRequest, sourceName } from './request.js'
import type { KernelImage } from './types.js'

/** In a kernel's folder: what `gmem coverage` reads its counters with, where it was built to count. */
export const COVERAGE_FOLDER = 'gcov'

/** Copies what a build left in the tree to a new folder, and gives the folder its name only when it is whole. */
export async function installKernel(
  src: string,
  request: BuildRequest,
  settings: MakeOptions,
  buildSeconds: number,
): Promise<KernelImage> {
  const unfinished = join(kernelsDir(), `.new-${process.pid}-${request.key.slice(0, 16)}`)
  const final = entryDir(request.id, request.key)
  await removeAbandoned()
  await mkdir(unfinished, { recursive: true })
  try {
    const release = readFileSync(join(src, 'include', 'config', 'kernel.release'), 'utf8').trim()
    await make([`INSTALL_MOD_PATH=${unfinished}`, 'INSTALL_MOD_STRIP=1', 'modules_install'], settings)
    const modules = join(unfinished, 'lib', 'modules', release)
    if (!existsSync(join(modules, 'modules.dep'))) {
      throw new GmemError(`modules_install left no modules.dep in ${modules}`, {
        hint: `See ${settings.log}`,
      })
    }
    // They point into the tree, which gc may remove.
    for (const link of ['build', 'source']) await rm(join(modules, link), { force: true })
    copyOut(src, unfinished)
    copyCoverageNotes(src, join(unfinished, COVERAGE_FOLDER))
    copyFileSync(settings.log, join(unfinished, 'build.log'))
    const manifest = await describe(request, release, buildSeconds, unfinished)
    writeFileSync(join(unfinished, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    await removeEntry(final)
    await rename(unfinished, final)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  const image = lookUpKernel(request.id, request.key)
  if (image === null) throw new GmemError(`the kernel that was just stored in ${final} cannot be read back`)
  return image
}

function copyOut(src: string, to: string): void {
  const files = {
    'arch/x86/boot/bzImage': 'bzImage',
    '.config': 'config',
    vmlinux: 'vmlinux',
    'System.map': 'System.map',
  }
  for (const [from, name] of Object.entries(files)) copyFileSync(join(src, from), join(to, name))
}

/** What gcov needs to read a kernel's counters: the notes of each counted object, and the sources that they speak of. */
function copyCoverageNotes(src: string, to: string): void {
  for (const folder of COUNTED_FOLDERS) {
    if (!existsSync(join(src, folder))) continue
    const names = readdirSync(join(src, folder))
    const notes = names.filter((name) => name.endsWith('.gcno'))
    if (notes.length === 0) continue
    mkdirSync(join(to, folder), { recursive: true })
    const sources = names.filter((name) => /\.[ch]$/.test(name))
    for (const name of [...notes, ...sources]) copyFileSync(join(src, folder, name), join(to, folder, name))
  }
}

async function describe(
  request: BuildRequest,
  release: string,
  buildSeconds: number,
  dir: string,
): Promise<Manifest> {
  return {
    schema: 1,
    id: request.id,
    key: request.key,
    release,
    flavour: request.flavour,
    patches: request.patchSets,
    source: sourceName(request.source),
    compiler: request.toolchain.identity,
    builtAt: new Date().toISOString(),
    buildSeconds: Math.round(buildSeconds),
    sizeBytes: await folderBytes(dir),
  }
}

/** Folders that a gmem left which was killed outright. */
async function removeAbandoned(): Promise<void> {
  if (!existsSync(kernelsDir())) return
  for (const name of readdirSync(kernelsDir())) {
    const owner = /^\.new-(\d+)-/.exec(name)?.[1]
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue
    await rm(join(kernelsDir(), name), { recursive: true, force: true })
  }
}
