// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { replaceKvm } from '../../testing/kvm-module.js'
import type { HostMessage } from '../protocol.js'
import { countShrunk, hasLogTrouble } from './trouble.js'

type Files = Extract<HostMessage, { type: 'exchange' }>['files']

/**
 * Makes this VM, which was saved with other KVM modules, one of the kernel that these files belong to. Returns why not, '' where it is.
 * A kernel that complains meanwhile is better looked at from its boot on: no test's window holds that.
 */
export function exchangeKvm(files: Files): string {
  try {
    for (const { path, deflated } of files) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, inflateRawSync(deflated))
    }
    replaceKvm()
    if (hasLogTrouble()) return 'the kernel complained while KVM was loaded'
    countShrunk()
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
