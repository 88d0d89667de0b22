// limpet support-bundle: what somebody elsewhere needs to find out what is wrong, without secrets.
#include <dirent.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "cli/archive.h"
#include "cli/command_doctor.h"
#include "cli/device_config.h"
#include "cli/doctor/apart.h"
#include "cli/format.h"
#include "cli/programs.h"
#include "cli/scrub.h"
#include "node/runtime/cgroup.h"
#include "store/check.h"

namespace limpet::cli {
namespace {

constexpr size_t most_of_file = 1 << 20;    // of each file of the bundle
constexpr size_t most_of_all = 16 << 20;    // of all of them, before packing
constexpr size_t most_of_source = 8 << 20;  // read of anything
constexpr int64_t program_ms = 5000, store_ms = 60'000;
constexpr const char* folder = "limpet-support/";

class Bundle {
 public:
  Bundle(Context& context, const DeviceConfig& device)
      : context_(context), device_(device), archive_(context.clock.wall().seconds) {}

  // Why not all secrets are known; empty: they are.
  const std::string& unknown() const { return unknown_; }

  Result<std::string> make() {
    learn_secrets();
    configuration();
    answers();
    findings();
    logs();
    commands();
    cgroups();
    readme();
    return archive_.gzip();
  }

 private:
  void put(const std::string& name, std::string_view text) { put_clean(name, scrubber_.text(text)); }

  // Of what is too long its end, the newest lines. It is cut only now: what was cut before would hide from
  // the scrubber.
  void put_clean(const std::string& name, std::string clean) {
    if (clean.size() > most_of_file)
      clean = "[the beginning is left out]\n" + std::string(last_lines(clean, most_of_file));
    if (archive_.size() + clean.size() > most_of_all)
      return missing(name, "the bundle would become too large");
    archive_.add(folder + name, clean);
    contents_ += "  " + name + "\n";
  }

  void missing(const std::string& name, const std::string& why) {
    missing_ += "  " + name + ": " + printable(why) + "\n";
  }

  // Secrets themselves never go in; that they are known helps to find them elsewhere. Without limpetd they
  // are read from its store.
  void learn_secrets() {
    std::string why;
    if (const auto secrets = context_.daemon.get("/api/v1/secrets")) {
      scrubber_.know_secrets(secrets->ref());
    } else {
      why = learn_from_store();
    }
    const std::string& auth = device_.config.registries.auth_file;
    if (!auth.empty()) {
      const auto text = read_file(auth, most_of_source);
      if (text) scrubber_.know_docker_config(*text);
      if (!text && text.error().code != Errc::not_found)
        why += (why.empty() ? "" : "; ") + text.error().message;
    }
    unknown_ = why;
  }

  // Empty, or why they are not known.
  std::string learn_from_store() {
    const auto values = doctor::apart(store_ms, [this] {
      json::Writer w;
      const auto read =
          store::read_values(device_.paths.store_file, doctor::places_for_copy(device_.paths.data_dir),
                             doctor::largest_copy, "secrets/");
      w.begin_object();
      if (!read && read.error().code != Errc::not_found) w.field("problem", read.error().message);
      w.key("items").begin_array();
      if (read) {
        for (const std::string& value : *read) w.raw(value);
      }
      w.end_array().end_object();
      return w.take();
    });
    if (!values) return "the store did not answer in time";
    const auto list = json::parse(*values);
    if (!list) return "the store: " + list.error().message;
    scrubber_.know_secrets(list->ref());
    return std::string(list->ref()["problem"].str());
  }

  // What may quote any secret goes in only while all of them are known.
  void put_quoting(const std::string& name, const std::function<std::string()>& clean) {
    if (unknown_.empty()) return put_clean(name, clean());
    missing(name, "it may quote Secrets of this device, which are not known (see above)");
  }

  void configuration() {
    const auto text = read_file(context_.arguments.config, most_of_file);
    if (text) {
      put("limpetd.yaml", *text);
    } else {
      missing("limpetd.yaml", text.error().message);
    }
    put("version.txt", strf("limpet %s\n", LIMPET_VERSION));
  }

  void answers() {
    static constexpr struct {
      const char *name, *path;
    } rows[] = {{"version.json", "/limpet/v1/version"},
                {"status.json", "/limpet/v1/status"},
                {"images.json", "/limpet/v1/images"},
                {"nodes.json", "/api/v1/nodes"},
                {"pods.json", "/api/v1/pods"},
                {"events.json", "/api/v1/events"},
                {"deployments.json", "/apis/apps/v1/deployments"},
                {"replicasets.json", "/apis/apps/v1/replicasets"}};
    std::string unreachable;  // then the others need not wait for the same
    for (const auto& row : rows) {
      if (!unreachable.empty()) {
        missing(row.name, unreachable);
        continue;
      }
      const auto value = context_.daemon.get(row.path);
      if (value) {
        put_quoting(row.name, [&] { return scrubber_.document(value->ref()); });
        continue;
      }
      missing(row.name, value.error().message);
      if (value.error().code == exit_unreachable) unreachable = value.error().message;
    }
    const auto metrics = unreachable.empty() ? context_.daemon.ask("GET", "/metrics")
                                             : Outcome<std::string>(failed(exit_unreachable, unreachable));
    if (metrics) {
      put("metrics.txt", *metrics);
    } else {
      missing("metrics.txt", metrics.error().message);
    }
  }

  // Last words of limpetd are the one finding that quotes.
  void findings() {
    doctor::Findings all = diagnose(context_);
    if (!unknown_.empty()) {
      for (doctor::Finding& f : all) {
        if (const size_t at = f.text.find(doctor::last_words_begin); at != std::string::npos)
          f.text.resize(at);
      }
    }
    const auto document = json::parse(findings_json(all));
    put_clean("doctor.json", document ? scrubber_.document(document->ref()) : "");
  }

  void logs() {
    loop::Loop& loop = context_.daemon.loop();
    const ProgramResult journal = run_program(
        loop, {"journalctl", "-u", "limpetd", "-n", "2000", "--no-pager", "-q", "-o", "short-iso"},
        program_ms, most_of_source);
    if (!journal.ok || journal.out.empty()) {
      missing("limpetd.log", journal.out.empty() ? "the journal has nothing of limpetd" : journal.out);
    } else {
      put_quoting("limpetd.log", [&] { return scrubber_.text(without_cut_line(journal.out)); });
    }
    // Where there is no systemd, packaging/quickstart.sh puts it here.
    const auto file = read_end("/var/log/limpetd.log", most_of_source);
    if (file) put_quoting("limpetd-file.log", [&] { return scrubber_.text(*file); });
    if (!file && file.error().code != Errc::not_found) missing("limpetd-file.log", file.error().message);
    const ProgramResult kernel = run_program(loop, {"dmesg"}, program_ms, most_of_source);
    if (kernel.ok) {
      put("kernel.log", without_cut_line(kernel.out));
    } else {
      missing("kernel.log", kernel.out);
    }
  }

  // A program's output may end in the middle of a secret.
  static std::string_view without_cut_line(std::string_view text) {
    return text.size() < most_of_source ? text : text.substr(0, text.rfind('\n') + 1);
  }

  void commands() {
    static const struct {
      const char* name;
      std::vector<std::vector<std::string>> commands;
    } rows[] = {{"network.txt",
                 {{"ip", "-d", "address"},
                  {"ip", "route", "show", "table", "all"},
                  {"ip", "neigh"},
                  {"nft", "list", "ruleset"}}},
                {"disk.txt", {{"df", "-k"}, {"df", "-i"}, {"mount"}}},
                {"system.txt", {{"uname", "-a"}, {"free", "-k"}, {"uptime"}}}};
    for (const auto& row : rows) {
      std::string text;
      for (const auto& command : row.commands) {
        std::string line = "$";
        for (const std::string& word : command) line += " " + word;
        text +=
            line + "\n" + run_program(context_.daemon.loop(), command, program_ms, most_of_file).out + "\n";
      }
      put(row.name, text);
    }
    const ProgramResult use =
        run_program(context_.daemon.loop(), {"du", "-x", "-k", "-d", "2", device_.paths.data_dir}, program_ms,
                    most_of_file);
    put("data-dir.txt", use.out);
  }

  void cgroups() {
    const auto groups = node::Cgroups::detect();
    if (!groups) return missing("cgroups.txt", groups.error().message);
    const std::string& configured = device_.config.cgroup_root;
    const std::string root = (configured.starts_with('/') ? "" : "/") + configured;
    std::string text;
    const std::vector<std::string> directories = groups->directories(root);
    if (!directories.empty()) list_groups(*groups, directories[0], root, 0, text);
    put("cgroups.txt", text);
  }

  static void list_groups(const node::Cgroups& groups, const std::string& directory, const std::string& path,
                          int depth, std::string& out) {
    if (depth > 3 || out.size() > most_of_file) return;
    const auto usage = groups.usage(path);
    out += std::string(static_cast<size_t>(depth) * 2, ' ') + path;
    if (usage) {
      out += strf("  memory %s, %llu processes, cpu %.1f s",
                  human_size(static_cast<int64_t>(usage->memory_bytes)).c_str(),
                  static_cast<unsigned long long>(usage->pids), static_cast<double>(usage->cpu_ns) / 1e9);
    }
    out += "\n";
    DIR* d = opendir(directory.c_str());
    if (!d) return;
    while (const dirent* entry = readdir(d)) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
      list_groups(groups, directory + "/" + entry->d_name, path + "/" + entry->d_name, depth + 1, out);
    }
    closedir(d);
  }

  void readme() {
    std::string text =
        "Made by limpet " LIMPET_VERSION " at " + rfc3339(context_.clock.wall()) +
        ".\n\nSecrets are left out: data of Secret objects, private keys, tokens, passwords in URLs and of\n"
        "registries, and values of variables that are named like one. Look through it all the same before\n"
        "you give it away: names, addresses and images of the device are in it.\n";
    if (!unknown_.empty()) {
      text +=
          "\nNot all secrets of this device are known (" + printable(unknown_) +
          "),\nso logs and objects that may quote them are left out. In what is here only what looks like a\n"
          "secret was found.\n";
    }
    text += "\nContents:\n" + contents_;
    if (!missing_.empty()) text += "\nWhat could not be had:\n" + missing_;
    archive_.add(std::string(folder) + "README.txt", scrubber_.text(text));
  }

  Context& context_;
  const DeviceConfig& device_;
  Archive archive_;
  Scrubber scrubber_;
  std::string contents_, missing_;
  std::string unknown_;  // why not all secrets are known; empty: they are
};

// "limpet-support-20260101T000000Z.tar.gz"
std::string default_name(WallTime now) {
  std::string time;
  for (const char c : rfc3339(now)) {
    if (c != '-' && c != ':') time += c;
  }
  return "limpet-support-" + time + ".tar.gz";
}

}  // namespace

Outcome<int> run_support_bundle(Context& context) {
  const auto& words = context.arguments.positional;
  const bool to_output = !words.empty() && words[0] == "-";
  if (to_output && context.output.out_terminal) {
    return failed(exit_usage, "standard output is a terminal; try: limpet support-bundle FILE");
  }
  // Others cannot read the Secrets, and what is not known cannot be taken out.
  if (geteuid() != 0) return failed(exit_failed, "this needs root");
  const DeviceConfig device = read_device_config(context.arguments);
  Bundle bundle(context, device);
  const auto bytes = bundle.make();
  if (!bytes) return failed(exit_failed, bytes.error().message);
  if (!bundle.unknown().empty()) {
    (void)context.output.err(labelled("limpet:",
                                      "not all secrets of this device are known (" +
                                          printable(bundle.unknown()) +
                                          "): logs and objects that may quote them are left out",
                                      8, context.output.width));
  }
  if (to_output) return print(context, *bytes);
  const std::string path = words.empty() ? default_name(context.clock.wall()) : words[0];
  if (const auto written = write_file_atomic(path, *bytes, 0600); !written)
    return failed(exit_failed, written.error().message);
  (void)context.output.err(
      labelled("limpet:", "look through " + path + " before you give it away", 8, context.output.width));
  return print(context, path + "\n");
}

}  // namespace limpet::cli
