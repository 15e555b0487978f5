// SPDX-License-Identifier: Apache-2.0
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder that holds package.json, vm-images and dist: the same from src/ and from dist/. */
export const projectRoot: string = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** Where gmem keeps what it can make again: $GMEM_CACHE, $XDG_CACHE_HOME/gmem or ~/.cache/gmem. */
export function cacheRoot(): string {
  const own = process.env.GMEM_CACHE
  if (own !== undefined && own !== '') return resolve(own)
  const xdg = process.env.XDG_CACHE_HOME
  return xdg !== undefined && xdg !== '' ? join(resolve(xdg), 'gmem') : join(homedir(), '.cache', 'gmem')
}
