// limpet status.
#include "cli/format.h"
#include "cli/pods.h"
#include "cli/pulls.h"
#include "schema/columns.h"

namespace limpet::cli {
namespace {

constexpr int64_t soon_days = 30;
constexpr size_t label_width = 14;

struct PodCounts {
  size_t total = 0, running = 0, done = 0;
};

PodCounts count(const std::vector<PodLine>& pods) {
  PodCounts c;
  c.total = pods.size();
  for (const PodLine& p : pods) {
    if (p.phase == "Succeeded") {
      c.done++;
    } else if (p.all_running()) {
      c.running++;
    }
  }
  return c;
}

class Page {
 public:
  Page(const Output& output, json::Ref status) : output_(output), status_(status) {}

  std::string text(const PodCounts& pods) {
    const json::Ref daemon = status_["daemon"], node = status_["node"], store = status_["store"],
                    disk = status_["disk"];
    line("device", std::string(node["name"].str()) + readiness(), worst());
    for (json::Ref part : status_["notReady"]) {
      line("", std::string(part["part"].str()) + ": " + std::string(part["reason"].str()), Colour::yellow);
    }
    if (const std::string_view role = node["role"].str(); role == "agent") {
      agent();
    } else if (!role.empty()) {
      line("role", std::string(role));
    }
    line("limpetd", strf("%s, up %s, memory %s", text_of(daemon["version"]).c_str(),
                         schema::human_duration(daemon["uptimeSeconds"].integer()).c_str(),
                         human_size(daemon["pssBytes"].integer()).c_str()));
    addresses(node);
    if (const std::string_view runtime = status_["runtime"].str(); !runtime.empty()) {
      line("runtime", std::string(runtime));
    }
    if (const std::string_view problem = status_["networkProblem"].str(); !problem.empty()) {
      line("network", std::string(problem), Colour::red);
    }
    const bool all = pods.running + pods.done == pods.total;
    std::string counts = strf("%zu of %zu running", pods.running, pods.total - pods.done);
    if (pods.done) counts += strf(", %zu completed", pods.done);
    if (!all) counts += "; see: limpet ps -A";
    line("pods", counts, all ? Colour::none : Colour::yellow);
    for (json::Ref pull : status_["pulls"]) line("pulling", pull_text(pull));
    if (store.is_object()) {
      line("store",
           strf("%lld objects, revision %lld, %s", number(store["objects"]), number(store["revision"]),
                human_size(store["fileBytes"].integer() + store["walBytes"].integer()).c_str()));
    }
    const int64_t total = disk["totalBytes"].integer(), free = disk["freeBytes"].integer();
    line("disk",
         strf("%s of %s free at %s", human_size(free).c_str(), human_size(total).c_str(),
              text_of(disk["path"]).c_str()),
         total > 0 && free < total / 10 ? Colour::yellow : Colour::none);
    backup(status_["backup"]);
    certificates();
    return std::move(out_);
  }

 private:
  static std::string text_of(json::Ref r) { return std::string(r.str("?")); }
  static long long number(json::Ref r) { return r.integer(); }

  void line(std::string_view label, const std::string& text, Colour colour = Colour::none) {
    const std::string name = label.empty() ? "" : std::string(label) + ":";
    std::string plain = labelled(name, text, label_width, output_.width);
    if (colour == Colour::none || plain.size() <= label_width) {
      out_ += plain;
      return;
    }
    plain.pop_back();
    out_ += plain.substr(0, label_width) + coloured(output_, colour, plain.substr(label_width)) + "\n";
  }

  Colour worst() const { return status_["notReady"].size() ? Colour::yellow : Colour::green; }
  const char* readiness() const { return status_["notReady"].size() ? ", not ready" : ", ready"; }

  void addresses(json::Ref node) {
    std::string list;
    for (json::Ref a : node["addresses"]) list.append(list.empty() ? "" : " ").append(a.str());
    line("addresses", list.empty() ? "none" : list, list.empty() ? Colour::yellow : Colour::none);
    if (const std::string_view url = node["apiURL"].str(); !url.empty()) line("API", std::string(url));
  }

  // Which server holds it, and what the servers know of it.
  void agent() {
    const json::Ref held = status_["heldBy"];
    const std::string since = schema::human_duration(held["sinceSeconds"].integer());
    if (const std::string_view server = held["server"].str(); !server.empty()) {
      line("role", strf("agent, held by %s for %s", printable(server).c_str(), since.c_str()));
    } else {
      line("role",
           strf("agent, cut off from all servers for %s: its pods run on and are restarted, and what "
                "happened is told when a server is reached",
                since.c_str()),
           Colour::red);
      std::string_view why = held["problem"].str();
      if (why.empty()) why = status_["servers"]["problem"].str();
      if (!why.empty()) line("", printable(why), Colour::yellow);
    }
    reported(status_["reported"]);
  }

  void reported(json::Ref told) {
    if (!told.is_object()) return;
    const auto ago = [](json::Ref seconds) { return schema::human_duration(seconds.integer()) + " ago"; };
    std::string text = told["heartbeatSeconds"] ? "heartbeat " + ago(told["heartbeatSeconds"])
                                                : std::string("no heartbeat was heard since the start");
    if (told["nodeSeconds"]) text += ", Node confirmed " + ago(told["nodeSeconds"]);
    if (const int64_t waiting = told["podsWaiting"].integer(); waiting > 0)
      text += strf(", the state of %lld pods still to be told", static_cast<long long>(waiting));
    const std::string_view problem = told["problem"].str();
    line("reported", text, problem.empty() ? Colour::none : Colour::yellow);
    if (!problem.empty()) line("", printable(problem), Colour::yellow);
  }

  void backup(json::Ref b) {
    if (!b.is_object()) return;
    const json::Ref last = b["last"];
    const std::string where = text_of(b["directory"]);
    line("backup", last.is_object() ? strf("%s, revision %lld, %s, in %s", text_of(last["time"]).c_str(),
                                           number(last["revision"]),
                                           human_size(last["bytes"].integer()).c_str(), where.c_str())
                                    : "none yet in " + where);
    if (const std::string_view problem = b["problem"].str(); !problem.empty())
      line("", printable(problem), Colour::yellow);
  }

  void certificates() {
    bool first = true;
    for (json::Ref c : status_["certificates"]) {
      const int64_t days = c["daysLeft"].integer();
      const std::string until = text_of(c["notAfter"]).substr(0, 10);
      line(first ? "certificates" : "",
           days < 0 ? strf("%s expired on %s", text_of(c["name"]).c_str(), until.c_str())
                    : strf("%s until %s (%lld days)", text_of(c["name"]).c_str(), until.c_str(),
                           static_cast<long long>(days)),
           days < 0           ? Colour::red
           : days < soon_days ? Colour::yellow
                              : Colour::none);
      first = false;
    }
  }

  const Output& output_;
  json::Ref status_;
  std::string out_;
};

}  // namespace

Outcome<int> run_status(Context& context) {
  auto status = context.daemon.get("/limpet/v1/status");
  if (!status) return std::unexpected(status.error());
  if (!status->ref()["daemon"].is_object()) {
    return failed(exit_failed, "what answers on " + context.daemon.socket_path() + " gave no status");
  }
  const auto list = context.daemon.get("/api/v1/pods");
  if (!list) return std::unexpected(list.error());
  const PodCounts pods = count(read_pods(list->ref(), status->ref()["node"]["name"].str()));
  if (context.arguments.json) {
    json::Ref counts = status->ref().ensure_object("pods");
    counts.set("total", static_cast<int64_t>(pods.total));
    counts.set("running", static_cast<int64_t>(pods.running));
    counts.set("completed", static_cast<int64_t>(pods.done));
    return print(context, status->ref().dump() + "\n");
  }
  return print(context, Page(context.output, status->ref()).text(pods));
}

}  // namespace limpet::cli
