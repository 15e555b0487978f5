// SPDX-License-Identifier: Apache-2.0
import { calibrate } from './guest/calibrate.js'

let measuredMs: number | null = null

/** The host's time for the work that guests calibrate with, in ms; measured once. */
export function hostCalibrationMs(): number {
  measuredMs ??= calibrate()
  return measuredMs
}
