// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { changedFunctions } from '../../src/kernels/c-functions.js'

const SOURCE = `// SPDX-License-Identifier: GPL-2.0
#include <linux/kvm_host.h>

struct gmem_inode {
	u64 flags;
};

static const struct file_operations kvm_gmem_fops = {
	.release	= kvm_gmem_release,
};

/* The folio is locked. */
static __always_inline struct folio *
kvm_gmem_get_folio(struct inode *inode, pgoff_t index)
{
	if (index) {
		return NULL;
	}
	return filemap_grab_folio(inode->i_mapping, index);
}

static long kvm_gmem_punch_hole(struct inode *inode, loff_t offset,
				loff_t len)
{
	truncate_inode_pages_range(inode->i_mapping, offset, offset + len - 1);
	return 0;
}
EXPORT_SYMBOL_GPL(kvm_gmem_punch_hole);

static __printf(1, 2) void complain(const char *format, ...)
{
}
`

test.each([
  ['return NULL', 'return ERR_PTR(-ENOENT)', ['kvm_gmem_get_folio']],
  ['pgoff_t index)', 'pgoff_t index, int)', ['kvm_gmem_get_folio']],
  ['len - 1', 'len', ['kvm_gmem_punch_hole']],
  ['\t\t\t\tloff_t len)', '\t\t\t\tsize_t len)', ['kvm_gmem_punch_hole']],
  // An attribute with arguments is taken for the name: no test is known to run that, so all will run.
  ['...)\n{', '...)\n{\n\treturn;', ['__printf']],
])('%j that becomes %j changes %j', (from, to, names) => {
  expect(changedFunctions(SOURCE, SOURCE.replace(from, to))).toEqual(names)
})

test('two functions that change are both named', () => {
  const after = SOURCE.replace('return NULL', 'return inode').replace('return 0', 'return 1')

  expect(changedFunctions(SOURCE, after)).toEqual(['kvm_gmem_get_folio', 'kvm_gmem_punch_hole'])
})

test('nothing that changes is no function', () => {
  expect(changedFunctions(SOURCE, SOURCE)).toEqual([])
})

test.each([
  ['a field of a struct', 'u64 flags', 'u32 flags'],
  ['a table', 'kvm_gmem_release,', 'kvm_gmem_close,'],
  ['an include', 'kvm_host.h', 'kvm.h'],
  ['what is exported', 'EXPORT_SYMBOL_GPL(kvm', 'EXPORT_SYMBOL(kvm'],
  ['the name of a function', 'static long kvm_gmem_punch_hole', 'static long kvm_gmem_punch'],
  ['a new function', 'static long', 'static int one(void)\n{\n\treturn 1;\n}\n\nstatic long'],
  ['the end of a function', 'return 0;\n}', 'return 0;\n} '],
])('%s that changes may reach anywhere', (_, from, to) => {
  expect(changedFunctions(SOURCE, SOURCE.replace(from, to))).toBeNull()
})
