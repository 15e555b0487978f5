// SPDX-License-Identifier: Apache-2.0
import { header, PART, type Pattern } from './pattern.js'

/** kernel/rcu/{tree_stall,tree_exp,tasks}.h, kernel/watchdog.c, kernel/hung_task.c */
const STALLS: readonly Pattern[] = [
  header(
    'RCU-stall',
    'trace',
    15,
    '(?:rcu: )?INFO: (?<what>rcu\\w* (?:self-detected stall on CPU|detected stalls on (?:CPUs\\/)?tasks|' +
      'detected expedited stalls on CPUs\\/tasks|detected (?:expedited )?stalls?(?=, but suppressed)))',
    'INFO: $<what> @',
  ),
  header(
    'soft-lockup',
    'trace',
    15,
    `(?:watchdog: )?BUG: soft lockup - ${PART.cpu} stuck for \\d+s! \\[(?<comm>.+):(?<pid>\\d+)\\]`,
    'BUG: soft lockup @',
  ),
  header(
    'hard-lockup',
    'trace',
    15,
    '(?:NMI )?watchdog: (?:CPU\\d+: )?Watchdog detected hard LOCKUP on cpu (?<cpu>\\d+)',
    'Watchdog detected hard LOCKUP @',
  ),
  header(
    'hung-task',
    'trace',
    15,
    "INFO: task (?<comm>.{1,20}):(?<pid>\\d+) (?:blocked(?: in I/O wait)?|can't die) for more than \\d+ sec",
    'INFO: task $<comm> hung @',
  ),
]

/** mm/{page_alloc,memory,filemap,slub,kmemleak,oom_kill}.c, kernel/fork.c, fs/super.c */
const MEMORY: readonly Pattern[] = [
  header(
    'bad-page',
    'trace',
    15,
    'BUG: (?<what>Bad page (?:state|map|cache)) in process (?<comm>.{1,20}?) {2}',
    'BUG: $<what> @',
  ),
  header(
    'bad-page',
    'line',
    15,
    'BUG: (?<what>Bad page \\w+): \\d+ messages suppressed',
    'BUG: $<what>, more of them',
  ),
  header(
    'bad-page',
    'line',
    15,
    'BUG: Bad rss-counter state mm:\\S+ (?:type|idx):(?<what>\\S+) .*?Comm:(?<comm>.{1,20}) Pid:(?<pid>\\d+)',
    'BUG: Bad rss-counter state $<what>',
  ),
  header(
    'bad-page',
    'line',
    15,
    'BUG: (?<what>Bad rss-counter state|non-zero (?:pgtables_bytes|nr_ptes|nr_pmds) on freeing mm)',
    'BUG: $<what>',
  ),
  header(
    'slab',
    'trace',
    25,
    'BUG (?<cache>\\S+) \\([^)]*\\): (?<what>\\D.*?)\\.?(?: 0x.*)?$',
    'BUG $<cache>: $<what> @',
  ),
  header(
    'slab',
    'trace',
    14,
    '\\[(?<what>(?:Left |Right )?(?:Redzone|Poison|Padding|[\\w ]+ [Pp]adding) overwritten)\\] 0x',
    'slab: $<what> @',
  ),
  header(
    'kmemleak',
    'line',
    15,
    'kmemleak: \\d+ new suspected memory leaks',
    'kmemleak: new suspected memory leaks',
  ),
  header('kmemleak', 'prefixed', 16, 'kmemleak: (?<what>unreferenced object)', 'kmemleak: $<what>'),
  header('OOM', 'oom', 15, '.{1,20} invoked oom-killer: ', 'OOM killer invoked'),
  header(
    'OOM',
    'line',
    16,
    '(?<what>(?:Memory cgroup out|Out) of memory(?: \\(oom_kill_allocating_task\\))?): ' +
      'Killed process (?<pid>\\d+) \\((?<comm>.+?)\\)',
    '$<what>: killed $<comm>',
  ),
  header('BUG', 'line', 15, 'VFS: (?<what>Busy inodes after unmount of .+)$', 'VFS: $<what>'),
]

export const STALL_HEADERS: readonly Pattern[] = [...STALLS, ...MEMORY]
