// SPDX-License-Identifier: Apache-2.0
import { type Need, not, writeFlag } from 'gmem/testing'
import { noDirectMapFlag } from './no-direct-map.js'

/**
 * Where MMAP and INIT_SHARED are all flags of KVM_CREATE_GUEST_MEMFD that there may be. A kernel that has one more is told by what the
 * flag does, so that one that only claims it still fails.
 */
export const onlyReleasedFlags: readonly Need[] = [not(writeFlag.need), not(noDirectMapFlag.need)]
