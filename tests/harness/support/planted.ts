// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, test } from 'vitest'
import { findGround, type Ground } from './ground.js'
import { type FixtureOptions, type FixtureRun, runFixture } from './run-fixture.js'

/** For a whole fixture with all its VMs on a busy machine, in ms. */
export const FIXTURE_MS_MAX = 900_000

export interface Planted {
  readonly ground: Ground
  /** The fixture's run, once for all tests of the group. */
  readonly run: FixtureRun
}

/**
 * A group of tests about one run of a fixture. Without a built kernel (`kernel`: a specification, else the default one) it is skipped,
 * and its title says why.
 */
export async function describePlanted(
  title: string,
  options: FixtureOptions & { readonly fixture: string; readonly kernel?: string },
  body: (planted: Planted) => void,
): Promise<void> {
  const { fixture, kernel, ...rest } = options
  const ground = await findGround(kernel)
  if (typeof ground === 'string') {
    describe.skip(`${title} (skipped: ${ground})`, () => test(fixture, () => {}))
    return
  }
  describe(title, () => {
    let run: FixtureRun | null = null
    beforeAll(async () => {
      run = await runFixture(ground, fixture, rest)
    }, FIXTURE_MS_MAX)
    body({
      ground,
      get run() {
        if (run === null) throw new Error(`the fixture ${fixture} has not run`)
        return run
      },
    })
  })
}
