// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from 'commander'

/** Parses how often something is done: 1 to 99. */
export function atLeastOne(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new InvalidArgumentError('it must be a number from 1 to 99.')
  return Number(text)
}
