// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../paths.js'

const fragmentsDir = join(projectRoot, 'vm-images', 'kernel')

/** What a kernel can be built as: `plain`, and one for each fragment beside base.config. */
export function listFlavours(): string[] {
  const names = readdirSync(fragmentsDir)
    .filter((file) => file.endsWith('.config') && file !== 'base.config')
    .map((file) => file.slice(0, -'.config'.length))
  return ['plain', ...names.sort()]
}

/** The configuration of a flavour: base.config with the flavour's own lines behind it. */
export function readFragments(flavour: string): string {
  const base = readFileSync(join(fragmentsDir, 'base.config'), 'utf8')
  if (flavour === 'plain') return base
  return `${base}\n${readFileSync(join(fragmentsDir, `${flavour}.config`), 'utf8')}`
}

/** Variables that make is given, from a fragment's lines `# [make] NAME=VALUE`. */
export function makeVariables(fragments: string): string[] {
  return [...fragments.matchAll(/^# \[make\] (\S+=\S+)$/gm)].map(([, variable]) => variable ?? '')
}
