#include "node/runtime/seccomp.h"

#include <algorithm>
#include <cstdint>

#include "base/json.h"

namespace limpet::node {
namespace {

// One text each, so that the lists cost no relocations and no memory until used.
constexpr std::string_view always =
    "_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir "
    "chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 "
    "clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect "
    "copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old "
    "epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit "
    "exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod "
    "fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock "
    "fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
    "ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat "
    "get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid "
    "geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid "
    "getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage "
    "getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 io_setup io_submit ioctl "
    "ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self "
    "lchown lchown32 lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr "
    "lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir "
    "mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open "
    "mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl "
    "msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat "
    "open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free "
    "pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease "
    "process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 "
    "read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
    "remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction "
    "rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait "
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler "
    "sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile "
    "sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid "
    "setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid "
    "setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
    "setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown "
    "sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 "
    "statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time "
    "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
    "timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime "
    "utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev ";

struct ByCapability {
  std::string_view capability;
  std::string_view calls;
};
constexpr ByCapability by_capability[] = {
    {"CAP_BPF", "bpf"},
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_PERFMON", "perf_event_open"},
    {"CAP_SYSLOG", "syslog"},
    {"CAP_SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
     "move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 "
     "unshare"},
    {"CAP_SYS_BOOT", "reboot"},
    {"CAP_SYS_CHROOT", "chroot"},
    {"CAP_SYS_MODULE", "delete_module finit_module init_module"},
    {"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
    {"CAP_SYS_RAWIO", "ioperm iopl"},
    {"CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"},
    {"CAP_SYS_TTY_CONFIG", "vhangup"},
};

constexpr std::string_view arm_calls =
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";
constexpr std::string_view x86_calls = "arch_prctl modify_ldt";

constexpr int64_t clone_namespaces = 0x7e020000;  // CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
constexpr int64_t vsock_family = 40;
constexpr int enosys = 38;

void names(json::Writer& w, std::string_view list) {
  w.key("names").begin_array();
  while (!list.empty()) {
    size_t end = std::min(list.find(' '), list.size());
    if (end > 0) w.string(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  w.end_array();
}

void allow(json::Writer& w, std::string_view list) {
  w.begin_object();
  names(w, list);
  w.field("action", "SCMP_ACT_ALLOW").end_object();
}

void allow_if(json::Writer& w, std::string_view call, std::string_view op, int64_t value,
              int64_t value_two = 0) {
  w.begin_object();
  names(w, call);
  w.field("action", "SCMP_ACT_ALLOW").key("args").begin_array().begin_object();
  w.field("index", 0).field("value", value).field("valueTwo", value_two).field("op", op);
  w.end_object().end_array().end_object();
}

void architectures(json::Writer& w, std::string_view arch) {
  w.key("architectures").begin_array();
  if (arch == "x86_64") {
    w.string("SCMP_ARCH_X86_64").string("SCMP_ARCH_X86").string("SCMP_ARCH_X32");
  } else if (arch == "aarch64") {
    w.string("SCMP_ARCH_AARCH64").string("SCMP_ARCH_ARM");
  } else {
    w.string("SCMP_ARCH_ARM");
  }
  w.end_array();
}

}  // namespace

std::string default_seccomp(const std::vector<std::string>& capabilities, std::string_view arch) {
  auto has = [&](std::string_view name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  json::Writer w;
  w.begin_object().field("defaultAction", "SCMP_ACT_ERRNO").field("defaultErrnoRet", 1);
  architectures(w, arch);
  w.key("syscalls").begin_array();
  allow(w, always);
  allow_if(w, "socket", "SCMP_CMP_NE", vsock_family);
  for (int64_t persona : {0x0LL, 0x8LL, 0x20000LL, 0x20008LL, 0xffffffffLL}) {
    allow_if(w, "personality", "SCMP_CMP_EQ", persona);
  }
  allow(w, arch == "x86_64" ? x86_calls : arm_calls);
  for (const ByCapability& entry : by_capability) {
    if (has(entry.capability)) allow(w, entry.calls);
  }
  if (!has("CAP_SYS_ADMIN")) {
    allow_if(w, "clone", "SCMP_CMP_MASKED_EQ", clone_namespaces);
    w.begin_object();
    names(w, "clone3");
    w.field("action", "SCMP_ACT_ERRNO").field("errnoRet", enosys).end_object();
  }
  w.end_array().end_object();
  return w.take();
}

std::string_view machine_arch() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "arm";
#endif
}

}  // namespace limpet::node
