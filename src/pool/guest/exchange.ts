// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { removeKvm, replaceKvm } from '../../testing/kvm-module.js'
import type { HostMessage } from '../protocol.js'
import { countShrunk, hasLogTrouble } from './trouble.js'

type Files = Extract<HostMessage, { type: 'exchange' }>['files']

/** Unloads KVM, ahead of exchangeKvm(). Returns why not, '' where it is out. */
export function unloadKvm(): string {
  return complaintOf(removeKvm)
}

/** SHA-256, hex, of the files that are there. */
export function digestsOf(paths: readonly string[]): Record<string, string> {
  const there = paths.filter((path) => existsSync(path))
  return Object.fromEntries(
    there.map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]),
  )
}

/**
 * Makes this VM, which was saved with other KVM modules, one of the kernel that these files belong to. Returns why not, '' where it is.
 * A kernel that complains meanwhile is better looked at from its boot on: no test's window holds that.
 */
export function exchangeKvm(files: Files): string {
  return complaintOf(() => {
    for (const { path, deflated } of files) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, inflateRawSync(deflated))
    }
    replaceKvm()
    if (hasLogTrouble()) throw new Error('the kernel complained while KVM was loaded')
    countShrunk()
  })
}

function complaintOf(work: () => void): string {
  try {
    work()
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
