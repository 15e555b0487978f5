// SPDX-License-Identifier: Apache-2.0
import { type Need, need } from 'gmem/testing'

/** A VM that gmem started: what a test does to the machine as a whole, it does to nobody else. */
export const ownVm: Need = need('a VM of gmem’s own', () =>
  process.env.GMEM_OUT_PORT === undefined ? 'it would disturb your own machine' : null,
)
