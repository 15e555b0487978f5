// SPDX-License-Identifier: Apache-2.0
import { escapeMarkup, stripAnsi } from './values.js'

/** Text of any origin as it stands between tags; control characters, which a console may hold, are shown as such. */
export function text(value: string): string {
  return escapeMarkup(
    stripAnsi(value)
      .replaceAll('\r', '')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced.
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '\ufffd'),
  )
}

/** A name that may be broken at its joints: `7.3+inplace-conversion kvm.tdp_mmu=0`. */
export function breakable(value: string): string {
  return text(value).replace(/[+_=/]|\.(?=[a-z])/g, '$&<wbr>')
}

/** Text as the value of an attribute, with its quotes. */
export function attribute(value: string): string {
  return `"${text(value).replaceAll('"', '&quot;')}"`
}

/** A block of text whose end says more than its middle, shortened where it is endless. */
export function block(value: string, linesMax: number): string {
  const lines = value.trimEnd().split('\n')
  if (lines.length <= linesMax) return `<pre>${text(lines.join('\n'))}</pre>`
  const head = Math.floor(linesMax / 4)
  const left = lines.length - linesMax
  const shown = [...lines.slice(0, head), `… ${left} lines more …`, ...lines.slice(head + left)]
  return `<pre>${text(shown.join('\n'))}</pre>`
}
