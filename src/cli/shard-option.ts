// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, Option } from 'commander'
import { parseShard, type Shard } from '../report/shard.js'

/** `--shard=2/3`: which part of the test files runs. */
export function shardOption(): Option {
  const what = 'only part I of N of the test files; without --seed every part has seed 0'
  return new Option('--shard <i/n>', what).argParser((text: string): Shard => {
    const shard = parseShard(text)
    if (shard !== null) return shard
    throw new InvalidArgumentError(
      'it must be I/N, I from 1 to N: of three parts there are 1/3, 2/3 and 3/3.',
    )
  })
}
