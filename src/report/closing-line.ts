// SPDX-License-Identifier: Apache-2.0
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/**
 * A vitest reporter that ends the output with `N passed, N failed, N skipped`, alone on its line, for whoever reads counts off it (CI).
 * What kept tests from running (a file that does not load, an error nobody caught) counts as failed.
 */
export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0 }
    const reasons = new Map<string, number>()
    for (const module of modules) {
      counts.failed += module.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        counts[state === 'pending' ? 'failed' : state] += 1
        if (state === 'skipped') count(reasons, skipReason(module, test.meta()))
      }
    }
    const lines = [...reasons].map(([reason, times]) => `skipped ${times}: ${reason}`)
    // After vitest's own summary, which is printed in the same hook.
    setImmediate(() => {
      process.stdout.write(`${lines.map((line) => `${line}\n`).join('')}\n`)
      process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
    })
  }
}

function skipReason(module: TestModule, meta: object): string {
  const reason = 'skipReason' in meta ? String(meta.skipReason) : 'no reason given'
  return `${module.project.name}: ${reason}`
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1)
}
