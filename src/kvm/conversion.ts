// SPDX-License-Identifier: Apache-2.0
import {
  KVM_GMEM_CONVERT_PRIVATE,
  KVM_GMEM_CONVERT_SHARED,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES2,
  kvm_gmem_convert,
  kvm_memory_attributes2,
  type StructValues,
} from '../abi/index.js'
import { KernelError, refusalOf } from '../binding/index.js'
import { type Bytes, bytes, hex } from '../units.js'
import type { Span } from './range.js'

/** Who may use a page of a guest_memfd: the guest alone, or the host as well. */
export type Sharing = 'private' | 'shared'

/** The arguments of KVM_SET_MEMORY_ATTRIBUTES2; any u64, so that malformed requests can be sent. */
export type AttributesRequest = Partial<StructValues<typeof kvm_memory_attributes2>>

/** The arguments of KVM_GMEM_CONVERT_*. */
export type GmemConvertRequest = Partial<StructValues<typeof kvm_gmem_convert>>

/** What came of a raw request: the errno's name, '' where it worked, and the struct as it is after the call. */
export interface RawConversion<Values> {
  readonly code: string
  readonly struct: Values
}

/** An ioctl on a guest_memfd, which writes `argument` back whether or not it fails. */
type Ioctl = (request: number, argument: Uint8Array) => number

/** No offset of a page: it is still there where the kernel wrote nothing. */
const UNWRITTEN = 2n ** 64n - 1n

const OLDER = {
  private: { request: KVM_GMEM_CONVERT_PRIVATE, name: 'KVM_GMEM_CONVERT_PRIVATE' },
  shared: { request: KVM_GMEM_CONVERT_SHARED, name: 'KVM_GMEM_CONVERT_SHARED' },
} as const

/** The kernel refused to convert a range of a guest_memfd: nothing of it has changed. */
export class ConversionError extends KernelError {
  /** Where in the file the first page is that was in the way (EAGAIN); null where the kernel wrote no offset. */
  readonly errorOffset: Bytes | null

  constructor(refusal: KernelError, syscall: string, errorOffset: Bytes | null) {
    const description = refusal.message.slice(refusal.code.length + 2, -(refusal.syscall.length + 2))
    const place = errorOffset === null ? '' : ` at offset ${hex(errorOffset)}`
    super(refusal.code, refusal.errno, syscall, `${description}${place}`)
    this.errorOffset = errorOffset
  }
}

/** KVM_SET_MEMORY_ATTRIBUTES2. ConversionError with its errno, and its offset where the kernel wrote one. */
export function setAttributes(ioctl: Ioctl, request: AttributesRequest): void {
  const argument = kvm_memory_attributes2.encode({ error_offset: UNWRITTEN, ...request })
  const refusal = refusalOf(() => ioctl(KVM_SET_MEMORY_ATTRIBUTES2, argument))
  if (refusal === null) return
  const { error_offset: written } = kvm_memory_attributes2.decode(argument)
  const errorOffset = written === (request.error_offset ?? UNWRITTEN) ? null : bytes(written)
  throw new ConversionError(refusal, 'KVM_SET_MEMORY_ATTRIBUTES2', errorOffset)
}

/** KVM_SET_MEMORY_ATTRIBUTES2 exactly as given. */
export function attemptAttributes(
  ioctl: Ioctl,
  request: AttributesRequest,
): RawConversion<StructValues<typeof kvm_memory_attributes2>> {
  const argument = kvm_memory_attributes2.encode(request)
  const code = refusalOf(() => ioctl(KVM_SET_MEMORY_ATTRIBUTES2, argument))?.code ?? ''
  return { code, struct: kvm_memory_attributes2.decode(argument) }
}

/** KVM_GMEM_CONVERT_PRIVATE or _SHARED exactly as given. */
export function attemptGmemConvert(
  ioctl: Ioctl,
  to: Sharing,
  request: GmemConvertRequest,
): RawConversion<StructValues<typeof kvm_gmem_convert>> {
  const argument = kvm_gmem_convert.encode(request)
  const code = refusalOf(() => ioctl(OLDER[to].request, argument))?.code ?? ''
  return { code, struct: kvm_gmem_convert.decode(argument) }
}

/**
 * Converts with the ioctl that the kernel has. ENOTTY says that it has not: the numbers of capabilities differ from posting to posting,
 * and released kernels use some of them for other things. ConversionError with the errno of the newest one otherwise.
 */
export function convert(ioctl: Ioctl, range: Span, to: Sharing): void {
  const attributes = to === 'private' ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n
  const newest = refusalOf(() => setAttributes(ioctl, { offset: range.offset, size: range.size, attributes }))
  if (newest === null) return
  if (newest.code !== 'ENOTTY') throw newest
  const older = refusalOf(() => gmemConvert(ioctl, range, to))
  if (older !== null) throw older.code === 'ENOTTY' ? newest : older
}

function gmemConvert(ioctl: Ioctl, range: Span, to: Sharing): void {
  const argument = kvm_gmem_convert.encode({ offset: range.offset, size: range.size })
  const refusal = refusalOf(() => ioctl(OLDER[to].request, argument))
  if (refusal === null) return
  // It wants 0 in error_offset, which could also be what it wrote: only EAGAIN is known to write it.
  const written = bytes(kvm_gmem_convert.decode(argument).error_offset)
  throw new ConversionError(refusal, OLDER[to].name, refusal.code === 'EAGAIN' ? written : null)
}
