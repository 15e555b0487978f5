// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

/** What stands in a title for a value that differs from row to row of a table of cases. */
const VARIES = '…'

/** The titles that the test files of a folder register by `test` and `cases`, by file; what varies in them is `…`. */
export function titlesOf(folder: string): Map<string, Set<string>> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.test.ts'))
  return new Map(files.map((file) => [file, titlesIn(join(folder, file))]))
}

function titlesIn(path: string): Set<string> {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const titles = new Set<string>()
  const visit = (node: ts.Node) => {
    const title = ts.isCallExpression(node) ? titleOf(node) : null
    if (title !== null) titles.add(title)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return titles
}

/** The title of a call of `test` or `cases`; null for any other. */
function titleOf(call: ts.CallExpression): string | null {
  const callee = call.expression.getText()
  if (callee === 'test') return textOf(call.arguments[0])
  const title = call.arguments[1]
  if (callee !== 'cases' || title === undefined || !ts.isArrowFunction(title)) return null
  return textOf(title.body)
}

function textOf(node: ts.Node | undefined): string | null {
  if (node === undefined) return null
  if (ts.isStringLiteralLike(node)) return node.text
  if (!ts.isTemplateExpression(node)) return null
  return node.head.text + node.templateSpans.map(({ literal }) => VARIES + literal.text).join('')
}
