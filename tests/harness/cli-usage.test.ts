// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Sandbox } from './support/run-gmem.js'

let box: Sandbox

beforeAll(async () => {
  box = await Sandbox.create()
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

const words = (commandLine: string): string[] => commandLine.split(' ').filter((word) => word !== '')

describe('a mistake in the command line is exit code 2, and says what there is', () => {
  test.each([
    ['frobnicate', "unknown command 'frobnicate'"],
    ['kernel frobnicate', "unknown command 'frobnicate'"],
    ['test --frobnicate', "unknown option '--frobnicate'"],
    ['doctor frobnicate', "too many arguments for 'doctor'"],
    ['test --seed=abc', "argument 'abc' is invalid. it must be a whole number, 0 or more."],
    ['test --seed=-1', "argument '-1' is invalid. it must be a whole number, 0 or more."],
    ['test --jobs=0', "argument '0' is invalid. it must be a whole number, 1 or more."],
    ['test --timeout=soon', "argument 'soon' is invalid. it must be a number above 0."],
    ['test --accel=xen', 'Allowed choices are auto, kvm, tcg.'],
    ['test --splats=maybe', 'Allowed choices are fail, warn, off.'],
    ['test --name=(', 'Invalid regular expression'],
    ['test --allow=/nowhere', '--allow /nowhere: ENOENT'],
    ['test --json=/nowhere/file', 'the folder /nowhere is not there, or not writable'],
    ['test --json --ktap', '--json and --ktap cannot both go to the standard output'],
    ['test frobnicate', 'There are: accounting.slow, attribute-ranges, '],
    ['test -k frobnicate', 'A kernel is a version (7.3, 6.12, 7.3.4), a source tree, or a bzImage'],
    ['test -k v7.3', 'versions are written without the v, as in 7.3'],
    ['test -k 7.3-frobnicate', 'There are: plain, debug'],
    ['test -k 7.3+frobnicate', 'there is no patch set "frobnicate"'],
    ['kernel build 7.3 --patches frobnicate', 'there is no patch set "frobnicate"'],
    ['kernel rm frobnicate', 'no built kernel is called "frobnicate"'],
    ['kernel gc --max-size much', 'a size is wanted, as in 5G or 800M'],
    ['probe --host -k 7.3', 'gmem probe looks at one target: give -k or --host, not both'],
    ['shell --accel xen', '--accel xen: there is auto, kvm and tcg'],
    ['rerun', 'no finished run to read in '],
    ['report merge -o whole', "missing required argument 'result'"],
    ['report merge part', "required option '-o, --output <dir>' not specified"],
    ['report merge /nowhere -o whole', 'there is no result in /nowhere'],
    [
      'report merge / -o whole --html=/nowhere/page',
      '--html=/nowhere/page: the folder /nowhere is not there',
    ],
  ])('gmem %s', async (commandLine, answer) => {
    const { exitCode, stdout, stderr } = await box.run(words(commandLine))

    expect(stderr).toContain(answer)
    expect(stderr).not.toContain('bug in gmem')
    expect(stdout).toBe('')
    expect(exitCode).toBe(2)
  })
})

describe('--help has examples', () => {
  test.each([
    '',
    'test',
    'rerun',
    'probe',
    'shell',
    'kernel',
    'kernel build',
    'kernel list',
    'kernel rm',
    'kernel gc',
    'report',
    'report merge',
    'doctor',
  ])('gmem %s', async (command) => {
    const { exitCode, stdout, stderr } = await box.run([...words(command), '--help'])

    expect(stdout).toMatch(new RegExp(`^Examples:\\n.*gmem ${command}`, 'm'))
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
  })
})
