# SPDX-License-Identifier: Apache-2.0
{
  'variables': {
    # node-gyp -- -Dsanitize=1: AddressSanitizer and UndefinedBehaviorSanitizer, see scripts/build-addon.mjs.
    'sanitize%': 0,
  },
  'targets': [
    {
      'target_name': 'gmem',
      'sources': [
        'native/addon.cc',
        'native/addon_data.cc',
        'native/arguments.cc',
        'native/deadline_timer.cc',
        'native/errno_name.cc',
        'native/forked.cc',
        'native/guarded_access.cc',
        'native/guarded_buffer.cc',
        'native/guest/monitor.S',
        'native/guest_memfd.cc',
        'native/ioctl.cc',
        'native/kernel_error.cc',
        'native/kvm.cc',
        'native/kvm_stats.cc',
        'native/mapping.cc',
        'native/memory_access_error.cc',
        'native/raw_syscall.cc',
        'native/read_files.cc',
        'native/run_queue.cc',
        'native/signals.cc',
        'native/syscall_thread.cc',
        'native/system_calls.cc',
        'native/unique_mapping.cc',
        'native/vcpu.cc',
        'native/vcpu_thread.cc',
        'native/vm.cc',
      ],
      # _all: std::bad_alloc and its like become JavaScript errors too.
      'dependencies': ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all"],
      'defines': ['NAPI_VERSION=9', '_GNU_SOURCE'],
      'cflags': ['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fvisibility=hidden'],
      'cflags!': ['-fno-omit-frame-pointer'],
      'cflags_cc!': ['-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++20'],
      # Signal handlers must outlive the environment that loaded the addon, which may be a worker thread's.
      'ldflags': ['-Wl,-z,nodelete'],
      'conditions': [
        ['sanitize==1', {
          'cflags': ['-fsanitize=address,undefined', '-fno-omit-frame-pointer', '-g', '-O1'],
          'ldflags': ['-fsanitize=address,undefined'],
        }],
      ],
    },
  ],
}
