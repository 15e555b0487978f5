// SPDX-License-Identifier: Apache-2.0
/*
 * PID 1 of a kernel under test: mounts what a test may need, loads the modules that the host
 * listed, starts the worker (Node) and stays until it ends, reaping orphans. Then it says on the
 * console how the worker ended and powers off. Everything that it says starts with "gmem-init: ",
 * so that the host can tell it from the kernel's own lines.
 *
 * /etc/gmem/init.conf, one item a line, in order: "module PATH [PARAMETERS]", "amd-module" and
 * "intel-module" the same, for processors of that make alone (a processor without SVM or VMX is no
 * error: the worker reports it better), "env NAME=VALUE", "port VARIABLE=NAME" (the worker gets the
 * device of that virtio-serial port in that variable), "sysctl PATH VALUE", "cpu NUMBER" (the
 * worker starts on that processor and no other), "cwd PATH", "arg VALUE" (first: the program).
 */
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CONF_PATH "/etc/gmem/init.conf"
#define ARGS_MAX 64
#define ENV_MAX 64
#define PORTS_MAX 2
#define COMMAND_LINE_MAX 2048 /* COMMAND_LINE_SIZE of x86 */
#define PORT_WAIT_MS 10000
#define SYSRQ_PORT_NAME "gmem.sysrq"
#define HYGON_EBX 0x6f677948u /* "Hygo": AMD's SVM under another name */

struct config {
  char *args[ARGS_MAX + 1];
  size_t arg_count;
  char *env[ENV_MAX + PORTS_MAX + 1];
  size_t env_count;
  char *ports[PORTS_MAX];
  size_t port_count;
  const char *cwd;
  const char *cpu;
};

/* One write per line, so that the kernel's messages cannot land inside it. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int length = snprintf(line, sizeof line, "gmem-init: ");
  length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, args);
  va_end(args);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length++] = '\n';
  ssize_t written = write(STDERR_FILENO, line, (size_t)length);
  (void)written;
}

__attribute__((noreturn)) static void power_off(void) {
  tcdrain(STDERR_FILENO);
  sync();
  reboot(RB_POWER_OFF);
  say("power off failed: %s", strerrorname_np(errno));
  for (;;) pause();
}

static void mount_at(const char *type, const char *target, mode_t mode, const char *options) {
  mkdir(target, mode);
  if (mount(type, target, type, 0, options) == 0) return;
  /* A kernel without that filesystem is a kernel under test like any other: what needs it is
   * skipped with its reason. */
  if (errno != ENODEV && errno != ENOENT && errno != EBUSY)
    say("mount %s on %s: %s", type, target, strerrorname_np(errno));
}

/* The project may lie below /tmp or /run: then its copy is there already, and a mount would hide
 * it. */
static void mount_where_empty(const char *target, mode_t mode, const char *options) {
  bool empty = true;
  DIR *folder = opendir(target);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
  }
  if (folder) closedir(folder);
  if (empty) mount_at("tmpfs", target, mode, options);
}

static void mount_all(void) {
  mount_at("proc", "/proc", 0555, NULL);
  mount_at("sysfs", "/sys", 0555, NULL);
  mount_at("devtmpfs", "/dev", 0755, "mode=0755");
  mount_at("devpts", "/dev/pts", 0755, "ptmxmode=0666");
  mount_at("tmpfs", "/dev/shm", 01777, "mode=1777");
  mount_where_empty("/tmp", 01777, "mode=1777");
  mount_where_empty("/run", 0755, "mode=0755");
  mount_at("hugetlbfs", "/dev/hugepages", 0755, NULL);
  mount_at("debugfs", "/sys/kernel/debug", 0700, NULL);
  mount_at("tracefs", "/sys/kernel/tracing", 0700, NULL);
  mount_at("cgroup2", "/sys/fs/cgroup", 0755, NULL);
  mkdir("/root", 0700);
  int ignored = symlink("/proc/self/fd", "/dev/fd");
  ignored = symlink("/proc/self/fd/0", "/dev/stdin");
  ignored = symlink("/proc/self/fd/1", "/dev/stdout");
  ignored = symlink("/proc/self/fd/2", "/dev/stderr");
  (void)ignored;
}

static void write_file(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0 && write(fd, value, strlen(value)) >= 0) {
    close(fd);
    return;
  }
  if (errno != ENOENT) say("write %s to %s: %s", value, path, strerrorname_np(errno));
  if (fd >= 0) close(fd);
}

static void set_loopback_up(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  struct ifreq request = {.ifr_name = "lo"};
  if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) say("loopback: %s", strerrorname_np(errno));
  }
  close(fd);
}

static void set_up_process(void) {
  write_file("/proc/self/oom_score_adj", "-1000");
  /* Cores are off (soft limit 0) until a test asks for one; then they land where the VM forgets
   * them. */
  write_file("/proc/sys/kernel/core_pattern", "/tmp/core.%p");
  struct rlimit core = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &core);
  struct rlimit locked = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &locked);
  struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  write_file("/proc/sys/kernel/sysrq", "1");
  write_file("/proc/sys/kernel/printk_ratelimit", "0");
  sethostname("gmem", 4);
  umask(022);
}

static bool is_amd(void) {
  unsigned int max = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &max, &ebx, &ecx, &edx);
  return ebx == signature_AMD_ebx || ebx == HYGON_EBX;
}

/* Whether a word of the kernel's command line ("kvm_amd.npt=0") is for a module (kvm-amd.ko). */
static bool is_for(const char *word, const char *file) {
  for (; *word && *word != '.'; word++, file++) {
    if (*word != *file && !(*word == '_' && *file == '-') && !(*word == '-' && *file == '_')) break;
  }
  return *word == '.' && *file == '.';
}

/* The kernel leaves the parameters of loadable modules on its command line to whoever loads them
 * (Documentation/admin-guide/kernel-parameters.rst). */
static void load_module(char *value, bool may_fail) {
  char *own = strchr(value, ' ');
  if (own) *own++ = '\0';
  char parameters[COMMAND_LINE_MAX + 256] = "";
  size_t length = (size_t)snprintf(parameters, 256, "%s", own ? own : "");
  FILE *command_line = fopen("/proc/cmdline", "re");
  for (char word[COMMAND_LINE_MAX]; command_line && fscanf(command_line, "%2047s", word) == 1;) {
    if (!is_for(word, basename(value))) continue;
    length += (size_t)sprintf(parameters + length, " %s", strchr(word, '.') + 1);
  }
  if (command_line) fclose(command_line);
  int fd = open(value, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    say("module %s: %s", value, strerrorname_np(errno));
    return;
  }
  if (syscall(SYS_finit_module, fd, parameters, 0) != 0) {
    bool expected =
        errno == EEXIST ||
        (may_fail && (errno == ENODEV || errno == EOPNOTSUPP || errno == ENOENT || errno == EIO));
    if (!expected) say("module %s: %s", value, strerrorname_np(errno));
  }
  close(fd);
}

static void set_sysctl(char *value) {
  char *text = strchr(value, ' ');
  if (!text) return;
  *text++ = '\0';
  write_file(value, text);
}

static void apply(struct config *config, char *key, char *value) {
  if (strcmp(key, "module") == 0) {
    load_module(value, false);
  } else if (strcmp(key, "amd-module") == 0) {
    if (is_amd()) load_module(value, true);
  } else if (strcmp(key, "intel-module") == 0) {
    if (!is_amd()) load_module(value, true);
  } else if (strcmp(key, "env") == 0 && config->env_count < ENV_MAX) {
    config->env[config->env_count++] = value;
  } else if (strcmp(key, "arg") == 0 && config->arg_count < ARGS_MAX) {
    config->args[config->arg_count++] = value;
  } else if (strcmp(key, "port") == 0 && config->port_count < PORTS_MAX) {
    config->ports[config->port_count++] = value;
  } else if (strcmp(key, "cwd") == 0) {
    config->cwd = value;
  } else if (strcmp(key, "cpu") == 0) {
    config->cpu = value;
  } else if (strcmp(key, "sysctl") == 0) {
    set_sysctl(value);
  } else {
    say("%s: cannot use \"%s %s\"", CONF_PATH, key, value);
  }
}

/* The lines stay allocated for good: the worker's arguments and environment point into them. */
static bool read_config(struct config *config) {
  FILE *file = fopen(CONF_PATH, "re");
  if (!file) {
    say("%s: %s", CONF_PATH, strerrorname_np(errno));
    return false;
  }
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, file)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = '\0';
    char *key = strdup(line);
    char *value = key ? strchr(key, ' ') : NULL;
    if (!value) continue;
    *value++ = '\0';
    apply(config, key, value);
  }
  free(line);
  fclose(file);
  return config->arg_count > 0;
}

static bool find_port(const char *name, char *device, size_t size) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  if (!ports) return false;
  bool found = false;
  struct dirent *entry;
  while (!found && (entry = readdir(ports))) {
    char path[512];
    char port_name[64] = "";
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t length = read(fd, port_name, sizeof port_name - 1);
    close(fd);
    if (length > 0 && port_name[length - 1] == '\n') port_name[length - 1] = '\0';
    if (strcmp(port_name, name) != 0) continue;
    if ((size_t)snprintf(device, size, "/dev/%s", entry->d_name) >= size) continue;
    found = access(device, R_OK | W_OK) == 0;
  }
  closedir(ports);
  return found;
}

/* The port appears some time after the driver: the device announces it in a control message. */
static bool wait_for_port(const char *name, char *device, size_t size) {
  for (int waited = 0; waited < PORT_WAIT_MS; waited += 2) {
    if (find_port(name, device, size)) return true;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
  say("no virtio-serial port \"%s\" after %d s: has this kernel VIRTIO_PCI and VIRTIO_CONSOLE?",
      name, PORT_WAIT_MS / 1000);
  return false;
}

/*
 * A child that writes every byte from the port to /proc/sysrq-trigger: the host asks for backtraces
 * when the worker, or half of the kernel, is stuck. It must not need the worker, memory or the
 * disk.
 */
static void serve_sysrq(void) {
  char device[64];
  if (!wait_for_port(SYSRQ_PORT_NAME, device, sizeof device)) return;
  if (fork() != 0) return;
  int port = open(device, O_RDWR | O_CLOEXEC);
  int trigger = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
  char key = 0;
  for (;;) {
    ssize_t length = read(port, &key, 1);
    if (length == 1) {
      /* At the worker's console level only warnings would come through, and the backtraces are at a
       * lower one. */
      write_file("/proc/sys/kernel/printk", "8 4 1 7");
      ssize_t written = write(trigger, &key, 1);
      (void)written;
    } else {
      /* No host on the other side reads as end of file. */
      nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
  }
}

/* Turns "VARIABLE=NAME" into "VARIABLE=/dev/vportNpM" of the worker's environment. */
static bool name_port(struct config *config, const char *port) {
  char device[64];
  char *variable = NULL;
  const char *name = strchr(port, '=');
  if (!name || !wait_for_port(name + 1, device, sizeof device)) return false;
  if (asprintf(&variable, "%.*s=%s", (int)(name - port), port, device) < 0) return false;
  config->env[config->env_count++] = variable;
  return true;
}

static void stay_on(const char *cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(atoi(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    say("sched_setaffinity %s: %s", cpu, strerrorname_np(errno));
}

static void run_worker(struct config *config) __attribute__((noreturn));

static void run_worker(struct config *config) {
  setsid();
  write_file("/proc/self/oom_score_adj", "0");
  int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  if (null > STDIN_FILENO) close(null);
  if (config->cpu) stay_on(config->cpu);
  if (config->cwd && chdir(config->cwd) != 0)
    say("chdir %s: %s", config->cwd, strerrorname_np(errno));
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  config->args[config->arg_count] = NULL;
  config->env[config->env_count] = NULL;
  execve(config->args[0], config->args, config->env);
  say("exec %s: %s", config->args[0], strerrorname_np(errno));
  _exit(127);
}

static void wait_for_worker(pid_t worker) {
  for (;;) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) {
      say("waitpid: %s", strerrorname_np(errno));
      return;
    }
    if (pid != worker) continue;
    if (WIFEXITED(status)) {
      say("worker exited with status %d", WEXITSTATUS(status));
    } else if (WIFSIGNALED(status)) {
      const char *name = sigabbrev_np(WTERMSIG(status));
      say("worker killed by signal %d (SIG%s)", WTERMSIG(status), name ? name : "?");
    }
    return;
  }
}

int main(void) {
  if (getpid() != 1) {
    fprintf(stderr,
            "gmem-init: this is the init of a kernel under test; it refuses to run as anything but "
            "PID 1\n");
    return 2;
  }
  static struct config config;
  mount_all();
  set_up_process();
  set_loopback_up();
  if (!read_config(&config)) {
    say("%s names no program to start", CONF_PATH);
    power_off();
  }
  /* It may have come with a module (null_blk needs it). */
  mount_at("configfs", "/sys/kernel/config", 0755, NULL);
  for (size_t i = 0; i < config.port_count; i++)
    if (!name_port(&config, config.ports[i])) power_off();
  if (config.port_count > 0) serve_sysrq();
  pid_t worker = fork();
  if (worker == 0) run_worker(&config);
  if (worker < 0) say("fork: %s", strerrorname_np(errno));
  if (worker > 0) wait_for_worker(worker);
  power_off();
}
