// SPDX-License-Identifier: Apache-2.0

/** A C file in the kernel's style, in which a function's body begins with `{` and ends with `}` in the first column. */
interface CFile {
  /** Heads and bodies, by name. */
  readonly functions: ReadonlyMap<string, string>
  /** All else, with the name of each function where it was. */
  readonly rest: string
}

/** The names of the functions whose text differs; null where something else does, too (a type, a macro, a table): that may reach anywhere. */
export function changedFunctions(before: string, after: string): string[] | null {
  const [old, now] = [splitFunctions(before), splitFunctions(after)]
  if (old.rest !== now.rest) return null
  return [...now.functions].flatMap(([name, text]) => (old.functions.get(name) === text ? [] : [name]))
}

function splitFunctions(text: string): CFile {
  const functions = new Map<string, string>()
  const rest: string[] = []
  const lines = text.split('\n')
  for (let index = 0; index < lines.length; index++) {
    const end = lines[index] === '{' ? lines.indexOf('}', index) : -1
    const head = end < 0 ? [] : takeHead(rest)
    const name = nameIn(head.join('\n'))
    if (name === null) {
      rest.push(...head, lines[index] ?? '')
      continue
    }
    const body = [...head, ...lines.slice(index, end + 1)].join('\n')
    // One name twice, behind #ifdef: they count as one.
    functions.set(name, (functions.get(name) ?? '') + body)
    rest.push(`${name}()`)
    index = end
  }
  return { functions, rest: rest.join('\n') }
}

/** Takes the lines that end a text and belong to the function whose body follows. */
function takeHead(lines: string[]): string[] {
  const last = lines.findLastIndex(
    (line) => line === '' || line.startsWith('#') || /(?:[;}]|\*\/)\s*$/.test(line),
  )
  return lines.splice(last + 1)
}

/** What is called first in a head: the function, or an attribute with arguments before it, which is no function that anybody knows. */
function nameIn(head: string): string | null {
  return /(\w+)\s*\(/.exec(head)?.[1] ?? null
}
