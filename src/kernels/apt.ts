// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { mkdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GmemError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import { acquireLock } from './lock.js'
import { run } from './run.js'

/** Where Debian keeps linux-source packages of released and of new kernels. */
const suites = ['trixie', 'trixie-backports']
const debianReleases =
  /^(bullseye|bookworm|trixie|forky|duke|sid|stable|testing|unstable)(-updates|-backports)?$/
const archiveKeyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const indexMaxAgeMs = 60 * 60 * 1000

const aptDir = (): string => join(cacheRoot(), 'apt')

/** Arguments that make apt use a source list, state and cache of gmem's own: the system's are not touched. */
export function aptArguments(): string[] {
  return ['--config-file', join(aptDir(), 'apt.conf')]
}

/**
 * The address from which this system's own apt gets Debian: no address is known to gmem itself.
 * $GMEM_DEBIAN_MIRROR overrides it, for systems that are not Debian but have apt.
 */
export async function debianAddress(signal?: AbortSignal): Promise<string> {
  const own = process.env.GMEM_DEBIAN_MIRROR
  if (own !== undefined && own !== '') return own
  const format = ['--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages']
  const targets = await run('apt-get', ['indextargets', ...format], { signal }).catch((error: unknown) => {
    if (signal?.aborted) throw error
    return null
  })
  const rows = targets === null ? [] : targets.split('\n').map((line) => line.split(' '))
  const address = rows.find(
    ([uri, release]) => uri && !uri.includes('security') && debianReleases.test(release ?? ''),
  )?.[0]
  if (address !== undefined) return address
  throw new GmemError(
    targets === null
      ? 'there is no apt here to fetch kernel sources with'
      : 'the apt of this system has no Debian repository to fetch kernel sources from',
    {
      hint: 'Give a source tree or a bzImage instead (-k ~/linux), or set GMEM_DEBIAN_MIRROR to the address of a Debian mirror.',
    },
  )
}

/** Fetches the index of the suites, with signatures checked, unless it was done within the hour. */
export async function updateIndex(signal?: AbortSignal): Promise<void> {
  const stamp = join(aptDir(), 'updated')
  const lock = await acquireLock(join(cacheRoot(), 'locks', 'apt.lock'), { signal })
  try {
    const age = await stat(stamp).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => Number.POSITIVE_INFINITY,
    )
    if (age < indexMaxAgeMs && existsSync(join(aptDir(), 'apt.conf'))) return
    await writeConfiguration(await debianAddress(signal))
    await run('apt-get', [...aptArguments(), '-qq', '-o', 'APT::Update::Error-Mode=any', 'update'], {
      signal,
    })
    await writeFile(stamp, '')
    await utimes(stamp, new Date(), new Date())
  } finally {
    await lock.release()
  }
}

async function writeConfiguration(address: string): Promise<void> {
  const dir = aptDir()
  await mkdir(join(dir, 'lists', 'partial'), { recursive: true })
  await mkdir(join(dir, 'cache', 'archives', 'partial'), { recursive: true })
  const signedBy = existsSync(archiveKeyring) ? `[signed-by=${archiveKeyring}] ` : ''
  const list = suites.map((suite) => `deb ${signedBy}${address} ${suite} main\n`).join('')
  await writeFile(join(dir, 'sources.list'), list)
  await writeFile(join(dir, 'apt.conf'), configuration(dir))
}

function configuration(dir: string): string {
  // The system's hooks would act on the system's caches, and its other index targets would be fetched for nothing.
  return `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "no";
};
Acquire::Languages "none";
APT::Sandbox::User "root";
Dir::Etc::sourcelist "${dir}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "${dir}/lists";
Dir::Cache "${dir}/cache";
`
}
