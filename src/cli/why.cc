#include "cli/why.h"

#include <optional>

#include "base/result.h"
#include "cli/format.h"
#include "cli/why_parts.h"

namespace limpet::cli {
namespace {

json::Ref by_type(json::Ref conditions, std::string_view type) {
  for (json::Ref c : conditions) {
    if (c["type"].str() == type) return c;
  }
  return {};
}

std::string join(json::Ref strings) {
  std::string out;
  for (json::Ref s : strings) out.append(out.empty() ? "" : ", ").append(text_of(s));
  return out;
}

using Maybe = std::optional<Explanation>;

class Case {
 public:
  explicit Case(const PodFacts& facts)
      : f_(facts),
        spec_(f_.pod["spec"]),
        status_(f_.pod["status"]),
        name_(text_of(f_.pod["metadata"]["name"])) {}

  Explanation explain() const {
    for (const auto look : {&Case::deletion, &Case::end, &Case::scheduling, &Case::node, &Case::set_up}) {
      if (Maybe e = (this->*look)()) return std::move(*e);
    }
    if (Maybe e = init_containers()) return std::move(*e);
    if (Maybe e = containers()) return std::move(*e);
    return well();
  }

 private:
  // ---- going down

  Maybe deletion() const {
    const json::Ref meta = f_.pod["metadata"];
    const std::string deadline(meta["deletionTimestamp"].str());
    if (deadline.empty()) return {};
    const std::string running = running_containers();
    if (running.empty() && meta["finalizers"].size() > 0) {
      return wrong(
          "Finalizers",
          strf("It is deleted and nothing of it runs any more, but it is held by the finalizer %s until "
               "whoever put it there takes it away.",
               join(meta["finalizers"]).c_str()),
          "See that the program that owns the finalizer runs, or remove it: kubectl edit pod " + name_ + ".");
    }
    if (running.empty())
      return underway("Terminating", "It is deleted; what it used on the device is being removed.");
    const auto until = parse_rfc3339(deadline);
    const int64_t left = until ? until->seconds - f_.now.seconds : 0;
    if (left > 0) {
      return underway("Terminating",
                      strf("It is deleted and was asked to end; %s has until %s (%s) before it is killed.",
                           running.c_str(), deadline.c_str(), from_now(left).c_str()));
    }
    if (const Maybe away = node()) {
      return wrong("Terminating", "It is deleted, but its device has not ended it yet. " + away->text,
                   away->remedy);
    }
    if (left > -10) return underway("Terminating", "It is deleted and its time is over: it is being killed.");
    return wrong(
        "Terminating",
        strf("It is deleted and was killed %s, but %s has not ended: the kernel still holds it, most often "
             "for a disk or device that does not answer.",
             ago(deadline, f_.now).c_str(), running.c_str()),
        "Look at the kernel's messages (dmesg); a reboot of the device ends it.");
  }

  std::string running_containers() const {
    std::string out;
    for (const char* list : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
      for (json::Ref s : status_[list]) {
        if (s["state"]["running"]) out += (out.empty() ? "container " : ", ") + text_of(s["name"]);
      }
    }
    return out;
  }

  // ---- over

  Maybe end() const {
    const std::string_view phase = status_["phase"].str();
    if (phase == "Succeeded") {
      return Explanation{
          Explanation::State::well, "Succeeded",
          "It ran to its end and all its containers ended with exit status 0" + when_ended() + ".", "", ""};
    }
    if (phase != "Failed") return {};
    const std::string_view reason = status_["reason"].str();
    if (reason == "Evicted") {
      return wrong(
          reason, "It was stopped since the device ran short: " + quoted_part(status_["message"].str()) + ".",
          "Free what is short, then delete the pod or let its controller do so.");
    }
    if (reason == "DeadlineExceeded") {
      return wrong(reason, "It was stopped since it ran longer than its activeDeadlineSeconds.",
                   "Raise activeDeadlineSeconds, if it needs longer.");
    }
    if (!reason.empty()) {
      return wrong(reason,
                   strf("It has failed for good (%s): %s.", printable(reason).c_str(),
                        quoted_part(status_["message"].str("no message")).c_str()),
                   "Delete it and create it again once that is mended.");
    }
    for (const char* list : {"initContainer", "container"}) {
      for (json::Ref s : status_[std::string(list) + "Statuses"]) {
        const json::Ref t = s["state"]["terminated"];
        if (!t || t["exitCode"].integer() == 0) continue;
        const Words words = exit_words(t, by_name(spec_[std::string(list) + "s"], s["name"].str()));
        Explanation e = wrong(t["reason"].str("Error"),
                              strf("It has failed for good: container %s %s%s, and its restart policy is %s.",
                                   text_of(s["name"]).c_str(), words.text.c_str(), said(t).c_str(),
                                   text_of(spec_["restartPolicy"]).c_str()),
                              words.remedy);
        e.log_container = s["name"].str();
        return e;
      }
    }
    return wrong("Failed", "It has failed for good.",
                 "kubectl describe pod " + name_ + " shows what is known.");
  }

  std::string when_ended() const {
    std::string_view last;
    for (json::Ref s : status_["containerStatuses"]) {
      last = std::max(last, s["state"]["terminated"]["finishedAt"].str());
    }
    const std::string when = ago(last, f_.now);
    return when.empty() ? "" : ", " + when;
  }

  // ---- not placed

  Maybe scheduling() const {
    if (!spec_["nodeName"].str().empty()) return {};
    if (const json::Ref gates = spec_["schedulingGates"]; gates.size() > 0) {
      return wrong("SchedulingGated",
                   strf("It waits: the scheduling gate %s has not been taken away yet.",
                        text_of(gates.at(0)["name"]).c_str()),
                   "The program that set the gate takes it away when it is done.");
    }
    const std::string scheduler(spec_["schedulerName"].str("default-scheduler"));
    if (scheduler != "default-scheduler") {
      return wrong("NoScheduler",
                   "It asks for the scheduler " + printable(scheduler) + ", which limpet does not have.",
                   "Leave schedulerName out.");
    }
    const json::Ref scheduled = by_type(status_["conditions"], "PodScheduled");
    std::string_view message;
    if (scheduled["status"].str() == "False") message = scheduled["message"].str();
    if (message.empty()) message = newest_event(f_.events, "FailedScheduling")["message"].str();
    if (message.empty())
      return underway("Pending", "It was made a moment ago and no device was chosen for it yet.");
    Words words = scheduling_words(message);
    return wrong("Unschedulable", "It has no device to run on: " + words.text + ".", words.remedy);
  }

  // ---- its device

  Maybe node() const {
    const json::Ref ready = by_type(f_.node["status"]["conditions"], "Ready");
    const std::string name = text_of(spec_["nodeName"]);
    if (!ready || ready["status"].str() == "True") return {};
    if (ready["status"].str() == "Unknown") {
      return wrong("NodeUnknown", strf("Its device %s has not been heard of for a while.", name.c_str()),
                   "See that the device has power and network, and that limpetd runs there.");
    }
    if (status_ready()) return {};  // a pod that runs is not hindered
    return wrong("NodeNotReady",
                 strf("Its device %s is not ready: %s.", name.c_str(),
                      quoted_part(ready["message"].str("no reason is given")).c_str()),
                 set_up_remedy(ready["message"].str()));
  }

  bool status_ready() const { return by_type(status_["conditions"], "Ready")["status"].str() == "True"; }

  // ---- volumes, sandbox, network

  // The device tells what it waits for; another device's is read from events, as long as nothing started.
  Maybe set_up() const {
    static constexpr struct {
      const char *step, *reason, *words;
    } rows[] = {{"volumes", "FailedMount", "Its volumes cannot be set up"},
                {"sandbox", "FailedCreatePodSandBox", "Its namespaces cannot be made"},
                {"network", "FailedCreatePodSandBox", "Its network cannot be set up"}};
    for (const auto& row : rows) {
      const json::Ref step = by_name(f_.device["steps"], row.step);
      if (step["message"].str().empty()) continue;
      return set_up_failed(row.reason, row.words, step["message"].str(), retry(step));
    }
    if (f_.device || anything_started()) return {};
    for (const char* reason : {"FailedMount", "FailedCreatePodSandBox"}) {
      const json::Ref event = newest_event(f_.events, reason);
      if (event && recent(event, f_.now)) {
        return set_up_failed(
            reason, reason == std::string_view("FailedMount") ? rows[0].words : "It cannot be set up",
            event["message"].str(), "");
      }
    }
    return {};
  }

  static Maybe set_up_failed(const char* reason, const char* words, std::string_view message,
                             const std::string& retry) {
    return wrong(reason, strf("%s: %s%s.", words, quoted_part(message).c_str(), retry.c_str()),
                 set_up_remedy(message));
  }

  bool anything_started() const {
    for (const char* list : {"containerStatuses", "initContainerStatuses"}) {
      for (json::Ref s : status_[list]) {
        if (s["state"]["running"] || s["state"]["terminated"] || s["lastState"]["terminated"]) return true;
      }
    }
    return false;
  }

  // ---- containers

  Maybe init_containers() const {
    size_t nth = 0;
    const size_t all = spec_["initContainers"].size();
    for (json::Ref c : spec_["initContainers"]) {
      nth++;
      const json::Ref s = by_name(status_["initContainerStatuses"], c["name"].str());
      const bool sidecar = c["restartPolicy"].str() == "Always";
      const json::Ref t = s["state"]["terminated"];
      if (t && t["exitCode"].integer() == 0 && !sidecar) continue;
      if (sidecar && s["state"]["running"] && s["started"].boolean(true)) continue;
      const std::string who =
          strf("%s %s", sidecar ? "sidecar" : "init container", text_of(c["name"]).c_str());
      const std::string place =
          strf(" The pod's containers start after it (%zu of %zu init containers).", nth, all);
      if (s["state"]["running"] && !sidecar) {
        Explanation e = underway("PodInitializing",
                                 "It is being prepared: " + who + " runs since " +
                                     runtime_of(s["state"]["running"]["startedAt"], f_.now) + "." + place);
        e.log_container = c["name"].str();
        return e;
      }
      Explanation e = explain_container(f_, c, s, who);
      e.text += place;
      return e;
    }
    return {};
  }

  Maybe containers() const {
    Maybe worst;
    size_t bad = 0;
    for (json::Ref c : spec_["containers"]) {
      const json::Ref s = by_name(status_["containerStatuses"], c["name"].str());
      if (s["state"]["running"] && s["ready"].boolean()) continue;
      if (ended_well(s)) continue;
      Explanation e = explain_container(f_, c, s, "container " + text_of(c["name"]));
      bad++;
      if (!worst || (worst->state != Explanation::State::wrong && e.state == Explanation::State::wrong))
        worst = std::move(e);
    }
    if (bad > 1)
      worst->text +=
          strf(" %zu of its %zu containers do not run as they should.", bad, spec_["containers"].size());
    return worst;
  }

  bool ended_well(json::Ref s) const {
    const json::Ref t = s["state"]["terminated"];
    return t && t["exitCode"].integer() == 0 && spec_["restartPolicy"].str() != "Always";
  }

  // ---- well

  Explanation well() const {
    const json::Ref ready = by_type(status_["conditions"], "Ready");
    if (ready["status"].str() == "False" && ready["reason"].str() == "ReadinessGatesNotReady") {
      return wrong(
          "ReadinessGatesNotReady",
          "Its containers run, but a readiness gate holds it: " + quoted_part(ready["message"].str()) + ".",
          "The program that owns the gate sets it.");
    }
    Explanation e;
    e.reason = "Running";
    const size_t n = spec_["containers"].size();
    e.text = strf("It runs well: %s ready",
                  n == 1 ? "its container is" : strf("its %zu containers are", n).c_str());
    if (const std::string since = runtime_of(ready["lastTransitionTime"], f_.now); ready && !since.empty())
      e.text += " since " + since;
    e.text += last_restart() + ".";
    return e;
  }

  // Of the container that was restarted last.
  std::string last_restart() const {
    json::Ref latest;
    for (json::Ref s : status_["containerStatuses"]) {
      const json::Ref t = s["lastState"]["terminated"];
      if (t && (!latest || latest["lastState"]["terminated"]["finishedAt"].str() < t["finishedAt"].str()))
        latest = s;
    }
    if (!latest) return "";
    const json::Ref t = latest["lastState"]["terminated"];
    const int64_t count = latest["restartCount"].integer();
    const std::string when = ago(t["finishedAt"].str(), f_.now);
    return strf("; container %s was restarted %lld time%s, the last time%s%s since it %s",
                text_of(latest["name"]).c_str(), number(count), count == 1 ? "" : "s",
                when.empty() ? "" : " ", when.c_str(),
                exit_words(t, by_name(spec_["containers"], latest["name"].str())).text.c_str());
  }

  const PodFacts& f_;
  json::Ref spec_, status_;
  std::string name_;
};

}  // namespace

Explanation explain_pod(const PodFacts& facts) { return Case(facts).explain(); }

}  // namespace limpet::cli
