// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../paths.js'

/** Something of the system that gmem needs: an entry of scripts/requirements.json, which scripts/setup.mjs reads too. */
export interface Requirement {
  /** `flex`, `gelf.h`, `libc.a` */
  readonly name: string
  readonly why: string
  /** What goes on without it; null where nothing does. */
  readonly optional: string | null
  /** Its package: on this distribution where that is known, else on Debian. */
  readonly package: string
}

type Family = 'debian' | 'fedora' | 'arch'
type Entry = Partial<Record<'program' | 'header' | 'library' | 'optional', string>> &
  Record<'why' | Family, string>

const installCommands: Record<Family, string> = {
  debian: 'apt-get install --no-install-recommends',
  fedora: 'dnf install',
  arch: 'pacman -S --needed',
}

/** All requirements that are not there. Looks where the shell and the compiler look; runs nothing. */
export function missingRequirements(): Requirement[] {
  const file = join(projectRoot, 'scripts', 'requirements.json')
  const { requirements } = JSON.parse(readFileSync(file, 'utf8')) as { requirements: Entry[] }
  const family = distribution()
  return requirements
    .filter((entry) => !isThere(entry))
    .map((entry) => ({
      name: entry.program ?? entry.header ?? entry.library ?? '',
      why: entry.why,
      optional: entry.optional ?? null,
      package: entry[family],
    }))
}

/** The command that installs these packages here. */
export function installCommand(packages: readonly string[]): string {
  const sudo = process.getuid?.() === 0 ? '' : 'sudo '
  return `${sudo}${installCommands[distribution()]} ${[...new Set(packages)].join(' ')}`
}

function isThere({ program, header, library }: Entry): boolean {
  if (program !== undefined) {
    const folders = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':').filter((folder) => folder !== '')
    return folders.some((folder) => existsSync(join(folder, program)))
  }
  const folders =
    header !== undefined
      ? ['/usr/include', '/usr/include/x86_64-linux-gnu', '/usr/local/include']
      : ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib']
  return folders.some((folder) => existsSync(join(folder, header ?? library ?? '')))
}

function distribution(): Family {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const ids = text.match(/^(?:ID|ID_LIKE)=.*$/gm)?.join(' ') ?? ''
  if (/fedora|rhel|centos/.test(ids)) return 'fedora'
  return /\barch\b/.test(ids) ? 'arch' : 'debian'
}
