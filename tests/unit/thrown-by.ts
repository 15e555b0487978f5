// SPDX-License-Identifier: Apache-2.0

/** What an action throws; null where it throws nothing. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return null
}
