// SPDX-License-Identifier: Apache-2.0

/** How a cell's VMs run: what is found by trying, hardware virtualization, or emulation. */
export type MatrixAccelerator = 'auto' | 'kvm' | 'tcg'

/** Values of the axes; a cell that has all of those given is left out. */
export interface MatrixExclude {
  /** As it stands in `kernels`. */
  readonly kernel?: string
  /** As it stands in `flavours`. */
  readonly flavour?: string
  /** As it stands in `parameters`. */
  readonly parameters?: string
  /** As it stands in `accelerators`. */
  readonly accelerator?: MatrixAccelerator
}

/** What `gmem matrix` runs: every kernel in every flavour, with each set of parameters, on each accelerator, but for what is excluded. */
export interface MatrixConfig {
  /**
   * Versions (`7.3`, `6.12`), source trees (`~/linux`; relative to this file), images (`path/to/bzImage`), each but an image with
   * `+PATCHSET` behind it: what `gmem test -k` takes.
   */
  readonly kernels: readonly string[]
  /** `plain`, `debug`, `kcsan`, …: the fragments of vm-images/kernel. Default: `plain`, or what a kernel's own name says. */
  readonly flavours?: readonly string[]
  /**
   * Each a set of kernel parameters, separated by spaces; `''` for none. Those of modules have the module's name before them:
   * `'kvm_amd.npt=0'`, `'numa=fake=2 kvm.tdp_mmu=0'`. Default: none.
   */
  readonly parameters?: readonly string[]
  /** Default: `auto`. */
  readonly accelerators?: readonly MatrixAccelerator[]
  readonly exclude?: readonly MatrixExclude[]
  /** Parts of file names, as in `gmem test conversion bounds`. Default: every file. */
  readonly files?: readonly string[]
  /** Regular expression: only tests whose name matches. */
  readonly tests?: string
  /** The slow files (`*.slow.test.ts`), too. Default: false. */
  readonly all?: boolean
  /** How often a test that killed its kernel is tried again. Default: 1. */
  readonly retries?: number
  /** Limit of each cell's run, in seconds. Default: none. */
  readonly timeout?: number
  /** Every time limit of a test is multiplied by it. Default: measured in each VM. */
  readonly slowdown?: number
  /** What a kernel splat does. Default: `fail`. */
  readonly splats?: 'fail' | 'warn' | 'off'
  /** What something left behind by a test does. Default: `fail`. */
  readonly leaks?: 'fail' | 'off'
  /** A file with splats to let pass, each with a reason; relative to this file. */
  readonly allow?: string
}

/** Returns the matrix as it is; it is there for the editor, which then knows every field: `export default defineMatrix({ … })`. */
export function defineMatrix(config: MatrixConfig): MatrixConfig {
  return config
}
