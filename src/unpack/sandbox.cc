#include "unpack/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iterator>
#include <vector>

namespace limpet::unpack {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;  // the sanitizer's own needs (memory, /proc) do not fit behind bars
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

constexpr uint64_t capabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
                                  1ull << CAP_FSETID | 1ull << CAP_MKNOD | 1ull << CAP_SETFCAP;

constexpr long allowed_calls[] = {
    SYS_read,
    SYS_write,
    SYS_writev,
    SYS_pwrite64,
    SYS_close,
    SYS_openat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_symlinkat,
    SYS_linkat,
    SYS_unlinkat,
    SYS_fchownat,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchmod,
    SYS_utimensat,
    SYS_fsetxattr,
    SYS_ftruncate,
    SYS_lseek,
    SYS_fcntl,
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_futex,
    SYS_getrandom,
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigreturn,
    SYS_rt_sigprocmask,
    SYS_restart_syscall,
    SYS_gettid,
    SYS_getpid,
    SYS_tgkill,
    SYS_fstat,
#ifdef SYS_mmap
    SYS_mmap,
#endif
#ifdef SYS_mmap2
    SYS_mmap2,
#endif
#ifdef SYS_newfstatat
    SYS_newfstatat,
#endif
#ifdef SYS_fstatat64
    SYS_fstatat64,
    SYS_fstat64,
#endif
#ifdef SYS_ftruncate64
    SYS_ftruncate64,
#endif
#ifdef SYS__llseek
    SYS__llseek,
#endif
#ifdef SYS_fcntl64
    SYS_fcntl64,
#endif
#ifdef SYS_utimensat_time64
    SYS_utimensat_time64,
#endif
#ifdef SYS_futex_time64
    SYS_futex_time64,
#endif
#ifdef SYS_statx
    SYS_statx,
#endif
#ifdef SYS_clock_gettime
    SYS_clock_gettime,
#endif
#ifdef SYS_clock_gettime64
    SYS_clock_gettime64,
#endif
};

#if defined(__x86_64__)
constexpr uint32_t audit_arch = AUDIT_ARCH_X86_64;
#elif defined(__i386__)
constexpr uint32_t audit_arch = AUDIT_ARCH_I386;
#elif defined(__aarch64__)
constexpr uint32_t audit_arch = AUDIT_ARCH_AARCH64;
#elif defined(__arm__)
constexpr uint32_t audit_arch = AUDIT_ARCH_ARM;
#elif defined(__riscv)
constexpr uint32_t audit_arch = AUDIT_ARCH_RISCV64;
#else
#error "name the audit architecture of this processor"
#endif

Result<> limit(int which, uint64_t value, const char* name) {
  struct rlimit now{};
  if (getrlimit(static_cast<__rlimit_resource_t>(which), &now) != 0) return fail_errno(errno, name);
  rlim_t wanted = value;
  if (now.rlim_max != RLIM_INFINITY && wanted > now.rlim_max) wanted = now.rlim_max;
  const struct rlimit set{wanted, wanted};
  if (setrlimit(static_cast<__rlimit_resource_t>(which), &set) != 0) return fail_errno(errno, name);
  return {};
}

Result<> limit_resources(const SandboxLimits& limits) {
  CHECK_OK(limit(RLIMIT_CORE, 0, "limit core files"));
  CHECK_OK(limit(RLIMIT_CPU, limits.cpu_seconds, "limit processor time"));
  CHECK_OK(limit(RLIMIT_FSIZE, limits.file_bytes, "limit file size"));
  CHECK_OK(limit(RLIMIT_NOFILE, 32, "limit descriptors"));
  if (!sanitized) CHECK_OK(limit(RLIMIT_AS, limits.memory_bytes, "limit memory"));
  return {};
}

// Best effort: without /proc the kernel judges by size alone.
void be_the_first_to_go() {
  const UniqueFd fd(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (fd) (void)!write(fd.get(), "1000", 4);
}

// What the kernel refuses here (inside a container without CAP_SYS_ADMIN) is covered by the filter.
void leave_namespaces() {
  for (const int flag : {CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUTS}) (void)unshare(flag);
}

Result<UniqueFd> change_root(UniqueFd target) {
  if (fchdir(target.get()) != 0) return fail_errno(errno, "enter the target");
  target.reset();
  if (chroot(".") != 0) return fail_errno(errno, "make the target the root");
  UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno(errno, "open the root");
  return root;
}

Result<> drop_capabilities() {
  for (int cap = 0; cap <= 63; ++cap) {
    if ((capabilities >> cap & 1) != 0) continue;
    if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0) break;  // beyond the last one of this kernel
    // Without CAP_SETPCAP the bounding set stays; no_new_privs makes it matter no more.
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM)
      return fail_errno(errno, "drop a capability");
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return fail_errno(errno, "read capabilities");
  for (int i = 0; i < 2; ++i) {
    const auto keep = static_cast<uint32_t>(capabilities >> (32 * i));
    data[i].permitted &= keep;
    data[i].effective = data[i].permitted;
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) != 0) return fail_errno(errno, "drop capabilities");
  return {};
}

}  // namespace

Result<> allow_system_calls() {
  constexpr size_t count = std::size(allowed_calls);
  static_assert(count < 200, "jumps are one byte");
  std::vector<sock_filter> program;
  program.reserve(count + 6);
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_arch, 1, 0));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (size_t i = 0; i < count; ++i) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(allowed_calls[i]),
                               static_cast<uint8_t>(count - i), 0));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
    return fail_errno(errno, "filter system calls");
  return {};
}

Result<UniqueFd> enter_sandbox(UniqueFd target, const SandboxLimits& limits) {
  umask(0);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return fail_errno(errno, "die with the parent");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "forbid dumps");
  be_the_first_to_go();
  CHECK_OK(limit_resources(limits));
  leave_namespaces();
  TRY(UniqueFd root, change_root(std::move(target)));
  CHECK_OK(drop_capabilities());
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "forbid new privileges");
  if (!sanitized) CHECK_OK(allow_system_calls());
  return root;
}

}  // namespace limpet::unpack
