// Runs the real limpet-unpack over bytes, in a temporary directory.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/json.h"

struct TempDir {
  TempDir() {
    char name[] = "/tmp/limpet-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    const std::string quoted = "'" + path + "'";
    [[maybe_unused]] const int status = std::system(("rm -rf " + quoted).c_str());
  }
  TempDir(const TempDir&) = delete;
  std::string path;
};

struct Outcome {
  int status = -1;  // -1: killed
  std::string text;
  limpet::json::Value report;
  bool ok() const { return report && report.ref()["ok"].boolean(); }
  std::string message() const { return report ? std::string(report.ref()["message"].str()) : text; }
  std::string code() const { return report ? std::string(report.ref()["code"].str()) : ""; }
};

inline Outcome run_unpack(const std::string& bytes, const std::string& target,
                          const std::string& mode = "layer", std::vector<std::string> more = {}) {
  const std::string file = target + ".in";
  (void)limpet::write_file_atomic(file, bytes, 0600);
  int out[2];
  [[maybe_unused]] int made = pipe2(out, O_CLOEXEC);
  const int in = open(file.c_str(), O_RDONLY | O_CLOEXEC),
            dir = open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  // High numbers first, so that the targets do not overwrite the sources.
  posix_spawn_file_actions_adddup2(&actions, in, 200);
  posix_spawn_file_actions_adddup2(&actions, dir, 201);
  posix_spawn_file_actions_adddup2(&actions, 200, 3);
  posix_spawn_file_actions_adddup2(&actions, 201, 4);
  posix_spawn_file_actions_addclose(&actions, 200);
  posix_spawn_file_actions_addclose(&actions, 201);
  std::vector<std::string> args = {LIMPET_UNPACK, mode};
  args.insert(args.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  char* env[] = {nullptr};
  pid_t pid = -1;
  Outcome outcome;
  const int spawned = posix_spawn(&pid, LIMPET_UNPACK, &actions, nullptr, argv.data(), env);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(in);
  close(dir);
  char buffer[4096];
  for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;)
    outcome.text.append(buffer, static_cast<size_t>(n));
  close(out[0]);
  unlink(file.c_str());
  int status = 0;
  if (spawned != 0 || waitpid(pid, &status, 0) != pid) return outcome;
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  if (auto report = limpet::json::parse(outcome.text)) outcome.report = std::move(*report);
  return outcome;
}
