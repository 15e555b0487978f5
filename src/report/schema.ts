// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod'

/**
 * The shape of `gmem test --json`, and the only definition of it: the types come from here, and so does
 * schema/result.schema.json (`npx tsx scripts/write-schema.ts`). Import it for its types only where a command starts: zod costs
 * 35 ms.
 */
const positionSchema = z.object({
  file: z.string().describe('Relative to the project root where it is inside, else absolute.'),
  line: z.int().min(1),
  column: z.int().min(1),
})

const errorSchema = z.object({
  name: z.string().describe('Class of the error: AssertionError, KernelError, GuestDied, GuestHang, ...'),
  message: z.string().describe('Large integers (addresses, sizes, data) are in hexadecimal.'),
  diff: z.string().optional().describe('Expected against received, where it says more than the message.'),
  at: positionSchema.optional().describe('Where in the test file it was thrown.'),
  stack: z.string().optional(),
  trace: z
    .array(z.string())
    .optional()
    .describe('The kernel calls of the test, oldest first, with arguments and results.'),
})

const splatSchema = z.object({
  kind: z.string().describe('WARN, BUG, Oops, KASAN, lockdep, RCU-stall, leak of a resource, ...'),
  title: z.string().describe('One line, without addresses, CPU and pid.'),
  text: z.string().describe('The report as the kernel printed it, decoded where vmlinux is there.'),
  fingerprint: z.string().optional().describe('The same for the same bug on any boot.'),
  fileLine: z.string().nullish().describe('virt/kvm/guest_memfd.c:512, where the report or vmlinux says so.'),
  function: z
    .string()
    .nullish()
    .describe('The first function on the stack that is not of the reporting itself.'),
  count: z.int().optional().describe('How often it was printed during the test.'),
  allowed: z.string().optional().describe('The reason that the allow file gives for letting it pass.'),
})

const knownIssueSchema = z.object({
  id: z.string(),
  symptom: z.string(),
  expected: z.string().optional().describe('What a kernel without the bug does.'),
  kernels: z.array(z.string()).optional().describe('Releases that have it, by prefix; left out: all.'),
  seen: z.string().optional().describe('How it showed in this run.'),
})

const testSchema = z.object({
  file: z.string().describe('Test file, relative to the project root.'),
  name: z.string().describe('Suite and test names joined by " > ".'),
  status: z
    .enum(['passed', 'failed', 'skipped', 'known-issue'])
    .describe(
      'known-issue: a bug of the kernel that is on record showed as recorded; turns to failed when fixed.',
    ),
  reason: z.string().optional().describe('Why it was skipped. Always there when status is skipped.'),
  durationMs: z.number().min(0),
  line: z.int().optional().describe('Line of the test in its file.'),
  failure: z
    .enum(['assertion', 'timeout', 'splat', 'leak', 'hang', 'death', 'not-run'])
    .optional()
    .describe(
      'What failed it. timeout: its own time limit; hang: the guest no longer answered; death: the guest kernel died;' +
        ' not-run: its file could not be loaded, or a hook before it failed. Always there when status is failed.',
    ),
  error: errorSchema.optional().describe('The first error; with flaky, that of the attempt that failed.'),
  otherErrors: z.array(errorSchema).optional(),
  splats: z.array(splatSchema).optional(),
  knownIssue: knownIssueSchema.optional(),
  flaky: z.boolean().optional().describe('It failed at first and passed when tried again.'),
})

const fileSchema = z.object({
  file: z.string(),
  durationMs: z
    .number()
    .min(0)
    .describe('From the load of the file in its worker to the end of its last test.'),
})

const deathSchema = z.object({
  message: z.string(),
  test: z.string().optional().describe('The test that ran, where one did.'),
  console: z.string().optional().describe('Absolute path of the console log.'),
})

const count = z.int().min(0)

const targetSchema = z.object({
  id: z
    .string()
    .describe(
      'Unique in a run: the kernel id, or host; with @ and what sets it apart, where merging needs that.',
    ),
  kernel: z.string().describe('What -k was given, or host.'),
  release: z.string().describe('uname -r of it.'),
  accel: z.enum(['kvm', 'tcg', 'host', 'unknown']).describe('unknown: no VM of it ever started.'),
  accelWhy: z.string(),
  bootMs: z.number().nullable().describe('Time until the first VM of the target was ready for tests.'),
  restored: z
    .boolean()
    .nullable()
    .describe('true: from a saved VM; false: booted; null: host, or no VM started.'),
  passed: count.describe('Known issues included, so that passed + failed + skipped is the number of tests.'),
  failed: count,
  skipped: count,
  knownIssues: count.describe('How many of passed showed their known issue.'),
  flaky: count,
  splats: count.describe('Kernel splats that no allow file covers.'),
  durationMs: z
    .number()
    .min(0)
    .describe(
      'From the start of the run to the end of the last file of the target; merged: the sum of that.',
    ),
  seed: z.int().min(0).optional().describe("Of a merged target: its own, where it is not the run's."),
  firstResultMs: z
    .number()
    .nullable()
    .describe(
      "From the start of the gmem process to the target's first test result that is no skip; null: there was none.",
    ),
  deaths: z.array(deathSchema),
  files: z.array(fileSchema).describe('In the order in which they ended.'),
  tests: z.array(testSchema),
})

export const runSchema = z.object({
  format: z.literal(1).describe('Grows with every incompatible change of this schema.'),
  startedAt: z.iso.datetime(),
  durationMs: z.number().min(0).describe('Merged: the sum over the runs.'),
  shard: z
    .object({ index: z.int().min(1), count: z.int().min(1) })
    .optional()
    .describe('The part of the test files that ran (--shard); left out: all of them, or merged.'),
  seed: z.int().min(0).describe('Give it back with --seed to repeat the random choices.'),
  artefacts: z.string().describe('Absolute path of the folder of this run.'),
  passed: count.describe('Sum over the targets, known issues included.'),
  failed: count,
  skipped: count,
  exitCode: z.int().min(0).max(255).describe('What gmem test exits with; the table is in the README.'),
  errors: z
    .array(
      z.object({
        kind: z.enum(['infrastructure', 'unhandled', 'deadline', 'interrupted']),
        error: errorSchema,
      }),
    )
    .describe('What went wrong outside of any test.'),
  targets: z.array(targetSchema),
})

export type Position = z.infer<typeof positionSchema>
export type ReportedError = z.infer<typeof errorSchema>
export type ReportedSplat = z.infer<typeof splatSchema>
export type TestResult = z.infer<typeof testSchema>
export type FailureKind = NonNullable<TestResult['failure']>
export type TargetResult = z.infer<typeof targetSchema>
export type RunError = z.infer<typeof runSchema>['errors'][number]
export type RunResult = z.infer<typeof runSchema>

/** JSON Schema (draft 2020-12) of a result file, as it is kept in schema/result.schema.json. */
export function resultJsonSchema(): object {
  return {
    $comment: 'Generated from src/report/schema.ts by scripts/write-schema.ts; do not edit.',
    title: 'Result of gmem test --json',
    ...z.toJSONSchema(runSchema),
  }
}
