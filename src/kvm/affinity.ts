// SPDX-License-Identifier: Apache-2.0
import type { NativeVcpu } from '../binding/addon.js'

/** More than any machine here has; the kernel leaves out what is not there. */
const EVERY_PROCESSOR = new Uint8Array(128).fill(0xff)

/**
 * Lets a vCPU that is to run at the same time as the test, or as other vCPUs, do so. In an emulated VM the worker keeps to one processor
 * (src/pool/guest-files.ts says why) and its threads with it; anywhere else threads are left where whoever started gmem wants them.
 */
export function allowEveryProcessor(vcpu: NativeVcpu): void {
  if (process.env.GMEM_ONE_PROCESSOR !== undefined) vcpu.setAffinity(EVERY_PROCESSOR)
}
