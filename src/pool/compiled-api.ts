// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { projectRoot } from '../paths.js'

/** What tests import as gmem/testing, gmem/kvm and gmem/abi, for vite's `resolve.alias`: the very files that the guest's worker has loaded. */
export const compiledApi = ['testing', 'kvm', 'abi'].map((part) => {
  return { find: `gmem/${part}`, replacement: join(projectRoot, 'dist', part, 'index.js') }
})
