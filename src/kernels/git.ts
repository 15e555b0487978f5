// SPDX-License-Identifier: Apache-2.0
import { type RunOptions, run } from './run.js'

/** What a person's configuration may hold that changes what git prints or does. */
const plain = {
  'safe.directory': '*',
  'diff.noprefix': 'false',
  'diff.mnemonicPrefix': 'false',
  'core.autocrlf': 'false',
  'core.hooksPath': '/dev/null',
  'commit.gpgSign': 'false',
  'mailinfo.scissors': 'false',
  'user.name': 'gmem',
  'user.email': 'gmem@localhost',
}
const settings = Object.entries(plain).flatMap(([name, value]) => ['-c', `${name}=${value}`])

/** Runs git as if nobody had configured it. Returns what it prints; throws a GmemError where it fails. */
export async function git(
  folder: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return await run('git', ['--no-optional-locks', ...settings, '-C', folder, ...args], options)
}

/** A diff that patch(1) and git take alike, the same on every machine. */
export const diffOptions = [
  '--no-ext-diff',
  '--no-textconv',
  '--no-color',
  '--no-renames',
  '--full-index',
  '-U3',
]
