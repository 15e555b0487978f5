// SPDX-License-Identifier: Apache-2.0

// The figures in README. Each compares two sides in one run, in turns, because machines are noisy; none is a test.
//   node scripts/bench.mjs ioctl      one KVM_SET_MEMORY_ATTRIBUTES call: the addon against C, in a VM of the default kernel
//   node scripts/bench.mjs start      gmem test: the first time on a kernel (empty cache of VMs) against every later time
//   node scripts/bench.mjs contract   the whole contract, and one file of it
//   node scripts/bench.mjs detection  the whole contract with looking for splats and leaks, against without
//   node scripts/bench.mjs flavours   the whole contract on 7.3 against 7.3-debug
// Set GMEM_BENCH_ROUNDS for more rounds than 3.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheRoot } from '../dist/paths.js'

const CALLS = 20_000
const rounds = Number(process.env.GMEM_BENCH_ROUNDS ?? 3)
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'gmem-bench-'))
const benches = { ioctl, start, contract, detection, flavours }

try {
  const bench = benches[process.argv[2]]
  if (!bench) throw new Error(`usage: node scripts/bench.mjs ${Object.keys(benches).join('|')}`)
  await bench()
} catch (error) {
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 2
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exit()

async function ioctl() {
  const { resolveKernel } = await import('../dist/kernels/index.js')
  const { shellInGuest } = await import('../dist/pool/index.js')
  const program = join(folder, 'set-attributes')
  execFileSync('gcc', ['-O2', '-static', '-o', program, join(root, 'scripts/bench/set-attributes.c')])
  const lines = [
    `const c = () => Number(require('child_process').execFileSync('${program}', ['${CALLS}']).toString())`,
    "const vm = Kvm.open().createVm({ type: 'SW_PROTECTED' }); const at = gpa(0x10000000)",
    `const addon = () => { const t = performance.now(); for (let i = 0; i < ${CALLS}; i++) vm.setAttributes({ gpa: at, size: 4096n, attributes: i & 1 ? 0n : 8n }); return ((performance.now() - t) * 1e6) / ${CALLS} }`,
    `for (let round = 0; round < ${rounds}; round++) console.log('SEEN', c(), Math.round(addon()))`,
  ]
  let output = ''
  await shellInGuest(
    {
      kernel: await resolveKernel(undefined, { build: false }),
      accelerator: 'auto',
      runDir: folder,
      extraFiles: [program],
    },
    {
      columns: null,
      onInput: (listener) => {
        listener(`${lines.join('\n')}\n`)
        listener(null)
      },
      write: (data) => {
        output += data
      },
    },
  )
  const seen = [...output.matchAll(/^SEEN (\d+) (\d+)$/gm)].map(([, c, addon]) => ({
    c: Number(c),
    addon: Number(addon),
  }))
  if (seen.length === 0) throw new Error(`the VM said only: ${output}`)
  for (const { c, addon } of seen) say(`C ${c} ns   addon ${addon} ns   ratio ${(addon / c).toFixed(2)}`)
}

function start() {
  for (let round = 0; round < rounds; round++) {
    // The kernels stay; what is saved of VMs is new.
    const cache = mkdtempSync(join(folder, 'cache-'))
    const real = cacheRoot()
    for (const name of readdirSync(real))
      if (name !== 'saved' && name !== 'runs') symlinkSync(join(real, name), join(cache, name))
    mkdirSync(join(cache, 'saved'))
    const first = gmem(['vm-types'], { GMEM_CACHE: cache })
    const later = gmem(['vm-types'], { GMEM_CACHE: cache })
    say(
      `first time: first result ${seconds(first.firstMs)}, all ${seconds(first.ms)}   later: ${seconds(later.firstMs)}, ${seconds(later.ms)}   ratio ${(first.firstMs / later.firstMs).toFixed(2)}`,
    )
  }
}

function contract() {
  gmem(['vm-types'])
  for (let round = 0; round < rounds; round++) {
    const all = gmem([])
    const one = gmem(['conversion.test'])
    say(
      `contract ${seconds(all.ms)} (${all.line})   one file ${seconds(one.ms)} (${one.line})   ratio ${(all.ms / one.ms).toFixed(1)}`,
    )
  }
}

function detection() {
  gmem(['vm-types'])
  for (let round = 0; round < rounds; round++) {
    const on = gmem([])
    const off = gmem(['--splats', 'off', '--leaks', 'off'])
    say(
      `on ${seconds(on.ms)}, CPU ${seconds(on.cpuMs)}   off ${seconds(off.ms)}, CPU ${seconds(off.cpuMs)}   ratio ${(on.ms / off.ms).toFixed(3)}, CPU ${(on.cpuMs / off.cpuMs).toFixed(3)}`,
    )
  }
}

function flavours() {
  for (let round = 0; round < rounds; round++) {
    const plain = gmem(['-k', '7.3'])
    const debug = gmem(['-k', '7.3-debug'])
    say(
      `plain ${seconds(plain.ms)} (${plain.line})   debug ${seconds(debug.ms)} (${debug.line})   ratio ${(debug.ms / plain.ms).toFixed(2)}`,
    )
  }
}

/** One run of gmem test, timed as a whole process, and the time from the command to the first test's result. */
function gmem(args, env = {}) {
  const json = join(folder, 'result.json')
  const began = performance.now()
  const cpuBegan = childCpuMs()
  const run = spawnSync(
    process.execPath,
    [join(root, 'dist/cli/main.js'), 'test', ...args, `--json=${json}`],
    {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    },
  )
  const ms = performance.now() - began
  const line = run.stdout.trimEnd().split('\n').at(-1)
  if (![0, 1].includes(run.status))
    throw new Error(`gmem test ${args.join(' ')} ended with ${run.status}: ${run.stdout}${run.stderr}`)
  const result = JSON.parse(readFileSync(json, 'utf8'))
  return { ms, cpuMs: childCpuMs() - cpuBegan, line, firstMs: result.targets[0].firstResultMs }
}

/** CPU time of all that this process has started and waited for, QEMU with it; proc_pid_stat(5), in ticks of 10 ms. */
function childCpuMs() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')
  return (Number(fields[13]) + Number(fields[14])) * 10
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`
}

function say(line) {
  process.stdout.write(`${line}\n`)
}
