// SPDX-License-Identifier: Apache-2.0
import type { KnownIssue, Need } from 'gmem/testing'
import type { PageKind } from './pfnmap.js'

/**
 * hva_to_pfn_remapped() took a reference of every page that has a struct page, and "don't allow those pages here" where that fails (6.12.107):
 * the tail of a block counts 0. Gone in 6.13 with <20241010182427.1434605-1-seanjc@google.com>.
 */
export const UNCOUNTED_PAGES: KnownIssue = {
  id: 'F8',
  symptom:
    'EFAULT for VM_PFNMAP memory whose pages have no reference count of their own: KVM wants to take a reference',
  expected: 'the guest uses such pages, and KVM takes no reference',
  kernels: ['6.12'],
  shows: 'exit',
}

/** The same where it is KVM itself that uses the page, and tells no exit. */
export const UNCOUNTED_FOR_KVM: KnownIssue = { ...UNCOUNTED_PAGES, shows: 'assertion' }

/** The options of tests for pages of several kinds. */
export function optionsOf(needs: readonly Need[], issue = UNCOUNTED_PAGES) {
  return ({ kind }: { readonly kind: PageKind }) => ({ needs, ...issueOf(kind, issue) })
}

/** The option of a test over VM_PFNMAP memory of a kind. */
export function issueOf(kind: PageKind, issue = UNCOUNTED_PAGES): { readonly knownIssue?: KnownIssue } {
  return kind === 'tails' || kind === 'compound' ? { knownIssue: issue } : {}
}
