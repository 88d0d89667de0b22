// The commands: each asks limpetd, prints, and gives the exit status.
#pragma once

#include "base/clock.h"
#include "cli/connection.h"
#include "cli/failure.h"
#include "cli/options.h"
#include "cli/output.h"

namespace limpet::cli {

// What a command works with; outlives it.
struct Context {
  const Arguments& arguments;
  Connection& daemon;
  Output& output;
  Clock& clock;
};

Outcome<int> run_status(Context& context);
Outcome<int> run_ps(Context& context);
Outcome<int> run_why(Context& context);
Outcome<int> run_logs(Context& context);
Outcome<int> run_exec(Context& context);
Outcome<int> run_image_ls(Context& context);
Outcome<int> run_image_pull(Context& context);
Outcome<int> run_image_import(Context& context);
Outcome<int> run_image_rm(Context& context);
Outcome<int> run_restart(Context& context);
Outcome<int> run_top(Context& context);
Outcome<int> run_doctor(Context& context);
Outcome<int> run_support_bundle(Context& context);
Outcome<int> run_backup(Context& context);
Outcome<int> run_backup_keygen(Context& context);
Outcome<int> run_restore(Context& context);
Outcome<int> run_reset(Context& context);
Outcome<int> run_cluster_status(Context& context);
Outcome<int> run_cluster_recover(Context& context);
Outcome<int> run_token_create(Context& context);
Outcome<int> run_token_ls(Context& context);
Outcome<int> run_token_rm(Context& context);
Outcome<int> run_join(Context& context);
Outcome<int> run_node_remove(Context& context);
Outcome<int> run_node_revoke(Context& context);
Outcome<int> run_cert_rotate(Context& context);
Outcome<int> run_cert_status(Context& context);
Outcome<int> run_completion(Context& context);
Outcome<int> run_kubeconfig(Context& context);
Outcome<int> run_version(Context& context);

// The whole program after its arguments: parses, finds the socket, runs, reports. Gives the exit status.
int run(const std::vector<std::string>& words, loop::Loop& loop, Output& output, Clock& clock);

// Says what would be done, and whether the person at the terminal types yes to it.
bool confirmed(Context& context, const std::string& what);

// Prints; the empty Failure when nobody reads.
Outcome<int> print(Context& context, std::string_view text, int status = exit_done);

}  // namespace limpet::cli
