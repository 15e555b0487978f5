// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

/** What the running kernel's command line says for the module in a .ko: modprobe hands it on, finit_module(2) does not. */
export function bootParametersOf(file: string): string {
  return moduleParameters(readFileSync('/proc/cmdline', 'latin1'), basename(file, '.ko').replaceAll('-', '_'))
}

/**
 * What a kernel command line says for a module, as finit_module(2) takes it: `kvm_amd.npt=0` gives `npt=0` for kvm_amd. Dashes in a module's
 * name are underscores (kernel/params.c, parameq); quotes keep what they hold together.
 */
export function moduleParameters(commandLine: string, module: string): string {
  const words = commandLine.match(/(?:"[^"]*"|\S)+/g) ?? []
  return words
    .flatMap((word) => {
      const [, name, parameter] = /^([\w-]+)\.(.+)$/.exec(word) ?? []
      return name?.replaceAll('-', '_') === module && parameter !== undefined ? [parameter] : []
    })
    .join(' ')
}
