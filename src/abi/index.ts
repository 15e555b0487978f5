// SPDX-License-Identifier: Apache-2.0
/** The ABI between gmem and the kernel: numbers and layouts, nothing that acts. */
export * from './capabilities.js'
export * from './constants.js'
export * from './cpu.js'
export * from './exits.js'
export * from './ioc.js'
export * from './ioctls.js'
export * from './launch.js'
export * from './linux.js'
export * from './struct.js'
export * from './structs.js'
