// SPDX-License-Identifier: Apache-2.0
import { MPOL_F_ADDR, MPOL_F_NODE } from 'gmem/abi'
import type { Bytes, Mapping, Span } from 'gmem/kvm'
import { sys } from './system-calls.js'

/** Bits of a node mask that we pass, and that get_mempolicy(2) wants room for: more nodes than any machine has. */
const MASK_BITS = 1024
const MASK_BYTES = MASK_BITS / 8

/** mbind(2) of a part of a mapping to the nodes of a mask. KernelError EINVAL for an unknown policy or an offline node. */
export function setPolicy(mapping: Mapping, part: Span, mode: number, nodes: number): void {
  const mask = new Uint8Array(MASK_BYTES)
  mask[0] = nodes
  // The kernel reads one bit less than it is told (get_nodes(), mm/mempolicy.c).
  sys('mbind', mapping.hvaOf(part.offset), part.size, mode, mask, MASK_BITS, 0)
}

/** get_mempolicy(MPOL_F_ADDR): the policy of the page at an offset, and its nodes as a mask. */
export function policyAt(mapping: Mapping, offset: Bytes): { readonly mode: number; readonly nodes: number } {
  const mode = new Uint8Array(4)
  const mask = new Uint8Array(MASK_BYTES)
  sys('get_mempolicy', mode, mask, MASK_BITS, mapping.hvaOf(offset), MPOL_F_ADDR)
  return { mode: mode[0] ?? 0, nodes: mask[0] ?? 0 }
}

/** The node of each page of a part: touches what is not there yet (get_mempolicy(2) with MPOL_F_NODE). */
export function nodesOf(mapping: Mapping, part: Span, pageSize = 4096n): number[] {
  return Array.from({ length: Number(part.size / pageSize) }, (_, page) => {
    const node = new Uint8Array(4)
    const address = mapping.hva + part.offset + BigInt(page) * pageSize
    sys('get_mempolicy', node, null, 0, address, MPOL_F_NODE | MPOL_F_ADDR)
    return node[0] ?? 0
  })
}
