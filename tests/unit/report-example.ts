// SPDX-License-Identifier: Apache-2.0
import type { RunResult, TargetResult, TestResult } from '../../src/report/schema.js'

/** A run that has one of everything, for the writers of reports. */
export function exampleRun(): RunResult {
  const targets = [
    exampleTarget('7.3', exampleTests()),
    exampleTarget('host', [passed('fd operations', 'dup() works')]),
  ]
  return {
    format: 1,
    startedAt: '2026-11-21T09:12:30.123Z',
    durationMs: 4200,
    seed: 4711,
    artefacts: '/cache/runs/2026-11-21T09-12-30.123Z-99',
    passed: 4,
    failed: 3,
    skipped: 1,
    exitCode: 5,
    errors: [],
    targets,
  }
}

export function exampleTarget(id: string, tests: TestResult[]): TargetResult {
  const count = (...statuses: TestResult['status'][]): number =>
    tests.filter((test) => statuses.includes(test.status)).length
  return {
    id,
    kernel: id,
    release: id === 'host' ? '6.18.44' : '7.3.4-gmem',
    accel: id === 'host' ? 'host' : 'tcg',
    accelWhy: 'nested virtualization was tried and does not work here',
    bootMs: id === 'host' ? null : 210,
    restored: id === 'host' ? null : true,
    passed: count('passed', 'known-issue'),
    failed: count('failed'),
    skipped: count('skipped'),
    knownIssues: count('known-issue'),
    flaky: tests.filter((test) => test.flaky).length,
    splats: tests.flatMap((test) => test.splats ?? []).length,
    durationMs: 3100,
    firstResultMs: 1180,
    deaths: [],
    files: [{ file: 'tests/kernel/conversion.test.ts', durationMs: 2100 }],
    tests,
  }
}

export function passed(suite: string, name: string): TestResult {
  return { file: 'tests/kernel/fd.test.ts', name: `${suite} > ${name}`, status: 'passed', durationMs: 3.5 }
}

function exampleTests(): TestResult[] {
  const file = 'tests/kernel/conversion.test.ts'
  return [
    { file, name: 'at 4K > an even page', status: 'passed', durationMs: 12.5, line: 7 },
    {
      file,
      name: '- vcpu #2 gets a #PF & keeps "going" <on>',
      status: 'failed',
      failure: 'assertion',
      durationMs: 40,
      line: 20,
      error: {
        name: 'AssertionError',
        message: 'expected 0xaa to be 0x0\nSubtest: looks like a header',
        diff: '- Expected\n+ Received\n\n- 0x0\n+ 0xaa',
        at: { file, line: 24, column: 5 },
        stack: `at ${file}:24:5`,
        trace: ['#1 +0.1ms vm#1.setMemoryAttributes(0x10000000, 0x1000, 0x8, 0x0)'],
      },
    },
    {
      file,
      name: 'closing the file while the VM dies',
      status: 'failed',
      failure: 'splat',
      durationMs: 10,
      error: { name: 'KernelSplat', message: 'the kernel printed a splat' },
      splats: [
        {
          kind: 'WARN',
          title: 'WARNING in kvm_gmem_release',
          text: 'WARNING: virt/kvm/guest_memfd.c:512 at kvm_gmem_release\nCall Trace:\n <TASK>',
          fingerprint: 'WARN:kvm_gmem_release',
        },
      ],
    },
    {
      file,
      name: 'a vCPU that never exits',
      status: 'failed',
      failure: 'hang',
      durationMs: 20_000,
      error: { name: 'GuestHang', message: 'the guest hung: no sign of life for 20.0 s' },
    },
    {
      file,
      name: 'SNP guests convert too',
      status: 'skipped',
      reason: 'needs VM type SNP: KVM_CAP_VM_TYPES reports only DEFAULT, SW_PROTECTED',
      durationMs: 0,
    },
    {
      file,
      name: 'SIGKILL is prompt',
      status: 'known-issue',
      durationMs: 800,
      knownIssue: { id: 'F1', symptom: 'SIGKILL waits for the whole range', kernels: ['7.3'] },
    },
    {
      file,
      name: 'two vCPUs race',
      status: 'passed',
      durationMs: 5,
      flaky: true,
      error: { name: 'AssertionError', message: 'expected 1 to be 2' },
    },
  ]
}
