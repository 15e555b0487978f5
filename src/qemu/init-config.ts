// SPDX-License-Identifier: Apache-2.0

/** What the guest's PID 1 (vm-images/guest/init.c) has to do. */
export interface InitConfig {
  /** In load order. */
  readonly modules: readonly InitModule[]
  readonly sysctls: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  /** The virtio-serial ports whose devices the worker gets in its environment, by the variable. */
  readonly ports: Readonly<Record<string, string>>
  /** The processor that the worker and its threads start on, and stay on until they ask for others; null for any. */
  readonly cpu: number | null
  readonly cwd: string
  readonly command: readonly string[]
}

/** A module to load. */
export interface InitModule {
  /** Where it is in the guest. */
  readonly path: string
  /** As on modprobe's command line; may be empty. */
  readonly parameters: string
  /** Load it on processors of this make alone; its refusing one (no SVM, no VMX) is no error. */
  readonly processor: 'amd' | 'intel' | null
}

/** The text of /etc/gmem/init.conf: one item a line. Throws TypeError for a value that holds a line break. */
export function formatInitConfig(config: InitConfig): string {
  const items: [string, string][] = [
    ...config.modules.map(({ path, parameters, processor }): [string, string] => [
      processor === null ? 'module' : `${processor}-module`,
      parameters === '' ? path : `${path} ${parameters}`,
    ]),
    ...Object.entries(config.sysctls).map(([path, value]): [string, string] => [
      'sysctl',
      `${path} ${value}`,
    ]),
    ...Object.entries(config.env).map(([name, value]): [string, string] => ['env', `${name}=${value}`]),
    ...Object.entries(config.ports).map(([name, value]): [string, string] => ['port', `${name}=${value}`]),
    ...(config.cpu === null ? [] : [['cpu', String(config.cpu)] satisfies [string, string]]),
    ['cwd', config.cwd],
    ...config.command.map((argument): [string, string] => ['arg', argument]),
  ]
  const broken = items.find(([, value]) => value.includes('\n'))
  if (broken) throw new TypeError(`init.conf: ${broken[0]} ${JSON.stringify(broken[1])} holds a line break`)
  return items.map(([key, value]) => `${key} ${value}\n`).join('')
}
