// SPDX-License-Identifier: Apache-2.0
/** A kernel that can be booted: what `gmem kernel build` leaves in the cache, or what -k FILE points at. */
export interface KernelImage {
  /** What a person calls it: `7.3`, `7.3+inplace-conversion`, `7.3-debug`, `bzImage-of-me`. Unique in a run. */
  readonly id: string
  /** `uname -r` of it, read from the image: `7.3.4-gmem`. */
  readonly release: string
  /** Absolute path of the bzImage. */
  readonly bzImage: string
  /** Absolute path of the folder that holds its modules (`lib/modules/<release>`, with modules.dep), or null. */
  readonly modulesDir: string | null
  /** Absolute path of its .config, where it is known. */
  readonly config: string | null
  /** Absolute path of its vmlinux, where it is known (decodes splats). */
  readonly vmlinux: string | null
  /** `plain`, `debug`, `kcsan`, `gcov`, or `unknown` for an image that we did not build. */
  readonly flavour: string
  /** Hash over all that decides what runs (source, config, patches, compiler; or the files' contents). */
  readonly key: string
}
