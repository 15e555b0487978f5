// SPDX-License-Identifier: Apache-2.0
export { CoverageCollector } from './collect.js'
export { GcovReader } from './gcov.js'
export { coverageHtml, shareText } from './html.js'
export { lcovOf } from './lcov.js'
export { reachText } from './reach.js'
export { SUBJECTS } from './subjects.js'
export { reportSubject, type Share, type SubjectReport } from './summary.js'
export { parseUnreachable } from './unreachable.js'
