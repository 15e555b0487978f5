// SPDX-License-Identifier: Apache-2.0
/** What a test imports. */
export { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest'
export { bytes, gib, gpa, gpaAdd, hex, kib, mib, PAGE_SIZE, pages } from '../units.js'
export type { GmemContext } from './context.js'
export { findFlag, SHARED_FLAGS, writeFlag } from './found-flags.js'
export { hypercalls } from './hypercalls.js'
export { type KnownIssue, KnownIssueGoneError, type KnownIssueReport } from './known-issue.js'
export { kvmModuleFile, loadedMake, setKvmParameter } from './kvm-module.js'
export {
  type RecordedError,
  setTestObserver,
  type TestInfo,
  type TestObserver,
  type TestResult,
} from './lifecycle.js'
export { type ExpectedExit, type ExpectedMemoryFault, expect } from './matchers.js'
export { loadModule, testModule, unloadModule } from './module.js'
export { bootParametersOf } from './module-parameters.js'
export {
  cap,
  guestMemfd,
  guestMemfdFlag,
  guestMemfdMemslot,
  hugetlb,
  inPlaceConversion,
  ioctl,
  kernelAtLeast,
  memoryAttribute,
  type Need,
  need,
  not,
  numaNodes,
  path,
  preFault,
  sharedGuestMemfd,
  tdp,
  thp,
  vmType,
} from './needs.js'
export { probeTarget } from './probe-target.js'
export type { TargetInfo, VmTypeInfo } from './target.js'
export { type CaseBody, cases, type GmemTest, type GmemTestBody, type GmemTestOptions, test } from './test.js'
export { warmUp } from './warm-up.js'
