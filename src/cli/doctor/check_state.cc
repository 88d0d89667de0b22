// What limpetd keeps: the store, certificates; and whether it lives.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "cli/doctor/apart.h"
#include "cli/doctor/checks.h"
#include "cli/format.h"
#include "pki/certificate.h"
#include "store/check.h"

namespace limpet::cli::doctor {
namespace {

constexpr int64_t soon_days = 30;

// Shims of this device's pods: their directory is below runDir.
size_t count_shims(const Machine& m) {
  size_t n = 0;
  for (const std::string& pid : names_in(m, "/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string line = contents(m, "/proc/" + pid + "/cmdline");
    const size_t end = line.find('\0');
    if (end == std::string::npos || !std::string_view(line).substr(0, end).ends_with("limpet-shim")) continue;
    n += line.find("dir=" + m.paths.run_dir + "/") != std::string::npos;
  }
  return n;
}

// Apart, for the command line of a stuck process can be stuck too. Without an answer: nullopt.
std::optional<size_t> living_shims(const Machine& m) {
  const auto told = apart(m.patience_ms, [&] { return strf("%zu", count_shims(m)); });
  size_t n = 0;
  if (!told || std::from_chars(told->data(), told->data() + told->size(), n).ec != std::errc()) return {};
  return n;
}

std::string last_words(const Machine& m) {
  if (find_program(m, "journalctl").empty()) return "";
  const Ran ran = m.run({"journalctl", "-u", "limpetd", "-n", "3", "-o", "cat", "--no-pager", "-q"});
  if (!ran.ok || ran.out.empty()) return "";
  std::string out;
  for (const char c : ran.out) out += c == '\n' ? ' ' : c;
  while (out.ends_with(' ') || out.ends_with('.')) out.pop_back();
  return last_words_begin + out + ".";
}

Finding judge(const Machine& m, const std::string& name, const std::string& pem) {
  const auto c = pki::parse_certificate(pem);
  if (!c)
    return {
        "certificates", Level::problem,
        "The certificate " + name + " cannot be read: " + c.error().message + ".",
        "Move the file away and restart limpetd: it is made anew (the authority is not: restore a backup)."};
  const std::string until = rfc3339({c->not_after, 0}).substr(0, 10);
  const int64_t days = (c->not_after - m.clock.seconds) / pki::day_seconds;
  if (m.clock.seconds > c->not_after) {
    return {"certificates", Level::problem,
            strf("The certificate %s ended on %s.", name.c_str(), until.c_str()),
            m.daemon.pid != 0 ? "limpetd renews it within the hour: check the clock."
                              : "limpetd renews it when it starts; check the clock."};
  }
  if (m.clock.seconds < c->not_before) {
    return {"certificates", Level::problem,
            strf("The certificate %s is not valid before %s: the clock is behind.", name.c_str(),
                 rfc3339({c->not_before, 0}).c_str()),
            "Set the clock."};
  }
  if (days < soon_days) {
    return {"certificates", Level::warning,
            strf("The certificate %s ends on %s (in %lld days).", name.c_str(), until.c_str(),
                 static_cast<long long>(days)),
            "limpetd should have renewed it long ago: see that it runs and that the clock is right."};
  }
  return {"certificates", Level::ok, name + " until " + until, ""};
}

// Only what is certainly damage is called so, for what it advises cannot be undone.
Finding not_whole(const Machine& m, const Error& e) {
  const std::string what = printable(e.message);
  switch (e.code) {
    case Errc::not_found:
      return {"store", Level::skipped, "There is no store yet at " + m.paths.store_file + ".", ""};
    case Errc::too_large:
    case Errc::exhausted:
      return {"store", Level::skipped, "The store was not checked: there is no room for a copy of it.", ""};
    case Errc::permission_denied:
      return {"store", Level::skipped, "The store was not checked: " + what + ".", ""};
    case Errc::unsupported:
      return {"store", Level::problem, "The store was not checked: " + what + ".",
              "It is not damaged: install the version of limpet that wrote it."};
    case Errc::corrupt:
      if (!m.holder || m.holder() == 0) {
        return {"store", Level::problem, "The store is damaged: " + what + ".",
                "Keep a copy of " + m.paths.data_dir +
                    ", then restore a backup, or remove the store and apply the manifests again."};
      }
      [[fallthrough]];
    case Errc::conflict:
      return {"store", Level::skipped, "The store was not checked: limpetd began to use it meanwhile.", ""};
    default:
      return {"store", Level::problem, "The store could not be checked: " + what + ".",
              "Keep a copy of " + m.paths.data_dir + " and look at dmesg, whether the disk fails."};
  }
}

// The admin's certificate in the kubeconfig, base64 of PEM.
std::string embedded(std::string_view kubeconfig) {
  constexpr std::string_view key = "client-certificate-data: ";
  const size_t at = kubeconfig.find(key);
  if (at == std::string_view::npos) return "";
  kubeconfig.remove_prefix(at + key.size());
  std::string_view text = kubeconfig.substr(0, kubeconfig.find('\n'));
  if (text.starts_with('"') && text.size() > 1) text = text.substr(1, text.size() - 2);
  return base64_decode(text).value_or("");
}

}  // namespace

std::vector<std::string> places_for_copy(const std::string& data_dir) {
  return {data_dir, "/var/tmp", "/dev/shm", "/run"};
}

Findings check_daemon(const Machine& m) {
  const auto counted = living_shims(m);
  const size_t shims = counted.value_or(0);
  const std::string containers = !counted     ? "how many containers run did not answer"
                                 : shims == 1 ? "1 container runs"
                                              : strf("%zu containers run", shims);
  if (!m.daemon.answers && m.daemon.forbidden) {
    return {{"limpetd", Level::skipped,
             "Only root or a member of the group limpet may tell whether limpetd runs.", ""}};
  }
  if (m.daemon.pid == 0 && !m.daemon.answers) {
    Findings out{
        {"limpetd", Level::problem, "limpetd does not run." + last_words(m),
         exists(m, "/run/systemd/system")
             ? "Start it: systemctl start limpetd; its log tells why it ended: journalctl -u limpetd."
             : "Start it as it was started before (limpetd); what it wrote last, where its output went, "
               "tells why it ended."}};
    if (shims > 0) {
      out.push_back({"limpetd", Level::warning,
                     containers + " on without limpetd, but nothing restarts them.",
                     "limpetd takes them over when it starts."});
    }
    return out;
  }
  const std::string who =
      m.daemon.pid == 0 ? "limpetd" : strf("limpetd (pid %lld)", static_cast<long long>(m.daemon.pid));
  if (!m.daemon.answers) {
    return {{"limpetd", Level::problem,
             who + " holds " + m.paths.data_dir + " but does not answer on " + m.paths.socket + ".",
             "It may be starting; if this lasts a minute: systemctl restart limpetd (containers go on)."}};
  }
  if (!m.daemon.not_ready.empty()) {
    return {{"limpetd", Level::problem, who + " is not ready: " + m.daemon.not_ready + ".",
             "Wait a minute; if it stays, look at its log (with systemd: journalctl -u limpetd)."}};
  }
  return {{"limpetd", Level::ok, who + " is ready; " + containers + ".", ""}};
}

Findings check_store(Machine& m) {
  if (m.daemon.pid != 0 || m.daemon.answers) {
    return {{"store", Level::skipped, "limpetd has it open and checks every row that it reads.", ""}};
  }
  const std::string file = m.root + m.paths.store_file;
  if (m.daemon.forbidden ||
      (access((m.root + m.paths.data_dir).c_str(), R_OK | X_OK) != 0 && exists(m, m.paths.data_dir))) {
    return {{"store", Level::skipped, "Only root may read " + m.paths.data_dir + ".", ""}};
  }
  const auto report = store::check_database(file, places_for_copy(m.root + m.paths.data_dir), largest_copy);
  if (report) {
    m.last_write = report->last_commit;
    return {{"store", Level::ok,
             strf("The store is whole: %llu rows, revision %lld%s.",
                  static_cast<unsigned long long>(report->rows), static_cast<long long>(report->revision),
                  report->unclean ? "; limpetd was not stopped cleanly" : ""),
             ""}};
  }
  return {not_whole(m, report.error())};
}

Findings check_certificates(const Machine& m) {
  const std::string dir = m.paths.pki_dir;
  if (access((m.root + dir).c_str(), R_OK | X_OK) != 0) {
    return {{"certificates", Level::skipped,
             exists(m, m.paths.data_dir) ? "Only root may read " + dir + "." : "There are none yet.", ""}};
  }
  Findings bad;
  std::string good;
  std::vector<std::pair<std::string, std::string>> rows = {{"ca", contents(m, dir + "/ca.crt")}};
  const std::string device = contents(m, dir + "/node.crt");
  // An agent has no more than these, and no key that signs.
  const bool agent = !device.empty() && !exists(m, dir + "/ca.key");
  if (agent) {
    rows.emplace_back("device", device);
  } else {
    rows.emplace_back("serving", contents(m, dir + "/serving.crt"));
    rows.emplace_back("admin", contents(m, dir + "/admin.crt"));
    rows.emplace_back(m.paths.admin_kubeconfig, embedded(contents(m, m.paths.admin_kubeconfig)));
  }
  for (const auto& [name, pem] : rows) {
    if (pem.empty()) {
      bad.push_back(
          {"certificates", Level::warning, name + " is missing.",
           agent ? "Let the device join again (limpet join)." : "limpetd makes it when it starts."});
      continue;
    }
    Finding f = judge(m, name, pem);
    if (agent && f.level != Level::ok)
      f.remedy = "A server renews it: limpet cert status says why none did, and what to do.";
    if (f.level == Level::ok) {
      good += (good.empty() ? "" : ", ") + f.text;
    } else {
      bad.push_back(std::move(f));
    }
  }
  if (bad.empty()) return {{"certificates", Level::ok, "Valid: " + good + ".", ""}};
  return bad;
}

}  // namespace limpet::cli::doctor
