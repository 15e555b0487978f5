// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SplatDecoder } from '../../src/splats/decode.js'
import { detectSplats } from '../../src/splats/detect.js'
import type { RunProgram } from '../../src/splats/symbols.js'
import type { Splat } from '../../src/splats/types.js'
import { said, stackDump } from './splats-samples.js'

const run: RunProgram = async (command, args) => {
  const { stdout, exitCode } = await execa(command, args, { reject: false, maxBuffer: 1 << 28 })
  return { stdout: String(stdout), exitCode: exitCode ?? -1 }
}

/** Two functions that do not move apart, one of which inlines a third. */
const SOURCE = `volatile int sink;
static inline __attribute__((always_inline)) void store(int value)
{
	sink = value;
}
__attribute__((noinline)) void culprit(void)
{
	store(1);
}
__attribute__((noinline)) void caller(void)
{
	culprit();
	sink = 2;
}
int main(void)
{
	caller();
	return 0;
}
`

const folder = mkdtempSync(join(tmpdir(), 'gmem-decode-test-'))
const program = join(folder, 'vmlinux')
const pathFree = join(folder, 'vmlinux-path-free')
const object = join(folder, 'plant.o')
let culprit = ''
let caller = ''

/** \`name+offset/size\` of the first instruction that objdump shows at a source line. */
async function place(name: string, call: boolean): Promise<string> {
  const { stdout } = await run('objdump', ['-d', '--no-show-raw-insn', `--disassemble=${name}`, program])
  const lines = stdout.split('\n').flatMap((line) => /^ +([0-9a-f]+):\t(\S+)/.exec(line) ?? [])
  const addresses = [...stdout.matchAll(/^ +([0-9a-f]+):\t(\S+)/gm)].map(([, address = '', code = '']) => ({
    address: Number.parseInt(address, 16),
    code,
  }))
  const start = addresses[0]?.address ?? 0
  const at = addresses.findIndex(({ code }) => (call ? code.startsWith('call') : code.startsWith('mov')))
  expect(lines.length).toBeGreaterThan(0)
  const offset = (addresses[at + (call ? 1 : 0)]?.address ?? 0) - start
  const { stdout: symbols } = await run('nm', ['-n', program])
  const names = symbols.split('\n').map((line) => line.split(' '))
  const index = names.findIndex(([, , symbol]) => symbol === name)
  const size =
    Number.parseInt(names[index + 1]?.[0] ?? '0', 16) - Number.parseInt(names[index]?.[0] ?? '0', 16)
  return `${name}+0x${offset.toString(16)}/0x${size.toString(16)}`
}

beforeAll(async () => {
  writeFileSync(join(folder, 'plant.c'), SOURCE)
  await execa('gcc', ['-g', '-O1', '-c', 'plant.c', '-o', object], { cwd: folder })
  await execa('gcc', ['-g', '-O1', '-no-pie', 'plant.c', '-o', program], { cwd: folder })
  const mapped = `-fdebug-prefix-map=${folder}=.`
  await execa('gcc', ['-g', '-O1', '-no-pie', mapped, 'plant.c', '-o', pathFree], { cwd: folder })
  culprit = await place('culprit', false)
  caller = await place('caller', true)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function warn(module: string): Splat {
  const text = `------------[ cut here ]------------\nWARNING: at culprit+0x0/0x1, CPU#1: gmem-t7/42\nRIP: 0010:${culprit}${module}\n${stackDump('x').replace(/ x\+\S+/, ` ${caller}${module}`)}\n---[ end trace 0 ]---`
  return detectSplats(said(text))[0] as Splat
}

describe('decoding', () => {
  test('adds file and line to the frames of vmlinux, the call and not the return for callers', async () => {
    const decoder = new SplatDecoder({ vmlinux: program, moduleFile: () => null, run, sourceRoots: [folder] })
    const { splat } = await decoder.decode(warn(''))
    expect(splat.text).toContain(`RIP: 0010:${culprit} (plant.c:4 inlined by plant.c:8)`)
    expect(splat.text).toContain(` ${caller} (plant.c:12)`)
    expect(splat.fileLine).toBe('plant.c:4')
  })

  test('adds the same where the kernel was built to name its tree `.`', async () => {
    const decoder = new SplatDecoder({ vmlinux: pathFree, moduleFile: () => null, run, sourceRoots: [] })
    const { splat } = await decoder.decode(warn(''))
    expect(splat.text).toContain(`RIP: 0010:${culprit} (plant.c:4 inlined by plant.c:8)`)
    expect(splat.text).toContain(` ${caller} (plant.c:12)`)
    expect(splat.fileLine).toBe('plant.c:4')
  })

  test('adds them to the frames of a module, which is relocatable', async () => {
    const decoder = new SplatDecoder({
      vmlinux: null,
      moduleFile: (name) => (name === 'plant' ? object : null),
      run,
      sourceRoots: [folder],
    })
    const { splat, reason } = await decoder.decode(warn(' [plant]'))
    expect(splat.text).toContain(`RIP: 0010:${culprit} [plant] (plant.c:4 inlined by plant.c:8)`)
    expect(reason).toBe('no vmlinux is known')
  })

  test('leaves the report as it is without vmlinux, and says why', async () => {
    const decoder = new SplatDecoder({ vmlinux: null, moduleFile: () => null, run, sourceRoots: [] })
    expect(await decoder.decode(warn(''))).toEqual({ splat: warn(''), reason: 'no vmlinux is known' })
  })

  test('leaves it as it is without debug information, and says why', async () => {
    const stripped = join(folder, 'no-debug')
    await execa('strip', ['--strip-debug', '-o', stripped, program])
    const decoder = new SplatDecoder({ vmlinux: stripped, moduleFile: () => null, run, sourceRoots: [] })
    const { splat, reason } = await decoder.decode(warn(''))
    expect(splat).toEqual(warn(''))
    expect(reason).toBe(`${stripped}: no debug information (CONFIG_DEBUG_INFO)`)
  })

  test('leaves it as it is where readelf cannot read the file', async () => {
    const decoder = new SplatDecoder({
      vmlinux: join(folder, 'plant.c'),
      moduleFile: () => null,
      run,
      sourceRoots: [],
    })
    const { splat, reason } = await decoder.decode(warn(''))
    expect(splat).toEqual(warn(''))
    expect(reason).toMatch(/no symbols|exit code/)
  })

  test('leaves it as it is where readelf is missing', async () => {
    const missing: RunProgram = () =>
      Promise.reject(new Error('readelf is not installed (apt install binutils)'))
    const decoder = new SplatDecoder({
      vmlinux: program,
      moduleFile: () => null,
      run: missing,
      sourceRoots: [],
    })
    expect(await decoder.decode(warn(''))).toEqual({
      splat: warn(''),
      reason: 'readelf is not installed (apt install binutils)',
    })
  })
})
