// SPDX-License-Identifier: Apache-2.0
import type { Coverage } from './model.js'

/** The coverage as an lcov tracefile (geninfo(1)). `root` is put before the sources' paths. */
export function lcovOf(coverage: Coverage, root: string): string {
  const out: string[] = []
  for (const [path, { lines, functions }] of coverage.files) {
    out.push('TN:gmem', `SF:${root}/${path}`)
    for (const [name, { start }] of functions) out.push(`FN:${start},${name}`)
    for (const [name, { start }] of functions) out.push(`FNDA:${lines.get(start)?.count ?? 0},${name}`)
    for (const [number, { branches, count }] of lines) {
      branches.forEach((taken, index) => {
        out.push(`BRDA:${number},0,${index},${count === 0 ? '-' : taken}`)
      })
    }
    for (const [number, { count }] of lines) out.push(`DA:${number},${count}`)
    out.push(`LF:${lines.size}`, `LH:${[...lines.values()].filter(({ count }) => count > 0).length}`)
    out.push('end_of_record')
  }
  return `${out.join('\n')}\n`
}
