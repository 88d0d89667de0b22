#include <cstdio>

#include "base/result.h"
#include "cli/why_parts.h"
#include "schema/columns.h"

namespace limpet::cli {
namespace {

constexpr int64_t recent_s = 15 * 60;

std::string big(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

class ContainerCase {
 public:
  explicit ContainerCase(const PodFacts& facts) : f_(facts) {}

  Explanation container(json::Ref c, json::Ref s, const std::string& who) const {
    const std::string name(c["name"].str());
    const json::Ref state = s["state"];
    if (state["running"]) return unready(c, s, who);
    const json::Ref device = by_name(f_.device["containers"], name);
    const json::Ref waiting = state["waiting"];
    const std::string reason(waiting["reason"].str()), message = quoted_part(waiting["message"].str());
    const std::string capital = big(who);
    if (state["terminated"] || reason == "CrashLoopBackOff" || reason == "RunContainerError") {
      return crashed(c, s, device, capital, reason);
    }
    if (reason == "ErrImagePull" || reason == "ImagePullBackOff" || reason == "InvalidImageName") {
      return no_image(c, device, capital, reason, waiting["message"].str());
    }
    if (reason == "ErrImageNeverPull") {
      return wrong(reason,
                   strf("%s needs the image %s, which is not on the device, and its pull policy is Never.",
                        capital.c_str(), text_of(c["image"]).c_str()),
                   strf("Bring the image: limpet image import FILE, or limpet image pull %s.",
                        text_of(c["image"]).c_str()));
    }
    if (reason == "CreateContainerConfigError" || reason == "CreateContainerError") {
      return wrong(
          reason,
          strf("%s cannot be configured: %s%s.", capital.c_str(), message.c_str(), retry(device).c_str()),
          set_up_remedy(waiting["message"].str()));
    }
    if (!message.empty())
      return wrong(reason,
                   strf("%s waits (%s): %s.", capital.c_str(), printable(reason).c_str(), message.c_str()));
    if (const json::Ref pulling = newest_event(f_.events, "Pulling", name);
        pulling && !pulled_since(pulling, name)) {
      const std::string since = ago(event_time(pulling), f_.now);
      return underway("Pulling",
                      strf("%s waits for its image %s, which is being pulled%s%s.", capital.c_str(),
                           text_of(c["image"]).c_str(), since.empty() ? "" : " since ",
                           since.substr(0, since.find(" ago")).c_str()),
                      strf("How far it is: limpet image pull %s.", text_of(c["image"]).c_str()));
    }
    return underway(reason.empty() ? "Pending" : reason, capital + " is about to be started.");
  }

  bool pulled_since(json::Ref pulling, std::string_view name) const {
    for (const char* reason : {"Pulled", "Failed"}) {
      const json::Ref e = newest_event(f_.events, reason, name);
      if (e && event_time(e) >= event_time(pulling)) return true;
    }
    return false;
  }

  Explanation crashed(json::Ref c, json::Ref s, json::Ref device, const std::string& capital,
                      const std::string& reason) const {
    const bool ended_now = static_cast<bool>(s["state"]["terminated"]);
    const json::Ref t = ended_now ? s["state"]["terminated"] : s["lastState"]["terminated"];
    Words words = exit_words(t, c);
    if (!t)
      words = {"could not be started: " + quoted_part(s["state"]["waiting"]["message"].str()),
               set_up_remedy(s["state"]["waiting"]["message"].str())};
    const int64_t restarts = s["restartCount"].integer();
    std::string text = capital + " " + words.text + said(t);
    if (const std::string when = ago(t["finishedAt"].str(), f_.now); !when.empty()) text += " " + when;
    if (restarts > 0) text += strf(", after %lld restart%s", number(restarts), restarts == 1 ? "" : "s");
    text += restart_time(s, device);
    const json::Ref killed = newest_event(f_.events, "Killing", c["name"].str(), "probe");
    if (killed && recent(killed, f_.now) && t["reason"].str() != "OOMKilled") {
      const bool startup = killed["message"].str().find("startup") != std::string_view::npos;
      text += strf(" It was ended since its %s probe failed%s.", startup ? "startup" : "liveness",
                   probe_words(c["name"].str(), startup ? "Startup" : "Liveness").c_str());
      words.remedy = "Find out why the probe gets no good answer, or give it more time.";
    }
    Explanation e = wrong(reason.empty() ? t["reason"].str("Error") : std::string_view(reason),
                          std::move(text), words.remedy);
    if (t && t["exitCode"].integer() == 0) {
      e.remedy =
          "A container that is always restarted is not to end: correct its command or the restartPolicy.";
    }
    if (t && t["reason"].str() != "StartError") e.log_container = c["name"].str();
    return e;
  }

  // "; it is started again in 40s." as the device says, or as the status lets one compute.
  std::string restart_time(json::Ref s, json::Ref device) const {
    auto left = device["retryInSeconds"].exact_integer();
    const std::string_view message = s["state"]["waiting"]["message"].str();
    const auto ended = parse_rfc3339(s["lastState"]["terminated"]["finishedAt"].str());
    if (!left && message.starts_with("back-off ") && ended) {
      const std::string text(message.substr(9, message.find(' ', 9) - 9));
      int minutes = 0, seconds = 0;
      if (sscanf(text.c_str(), "%dm%ds", &minutes, &seconds) == 2 ||
          (minutes = 0, sscanf(text.c_str(), "%ds", &seconds) == 1)) {
        left = std::max<int64_t>(0, ended->seconds + minutes * 60 + seconds - f_.now.seconds);
      }
    }
    return left ? "; it is started again " + from_now(*left) + "." : ".";
  }

  Explanation no_image(json::Ref c, json::Ref device, const std::string& capital, const std::string& reason,
                       std::string_view message) const {
    const std::string image = text_of(c["image"]);
    if (reason == "InvalidImageName") {
      return wrong(
          reason,
          strf("%s names an image that cannot be: %s.", capital.c_str(), quoted_part(message).c_str()),
          "Correct the image's name in the pod.");
    }
    // "Back-off pulling image "x": why" has the reason behind its own words.
    const std::string prefix = "Back-off pulling image \"" + std::string(c["image"].str()) + "\": ";
    if (message.starts_with(prefix)) message.remove_prefix(prefix.size());
    std::string_view why = message;
    if (why.empty() || why.starts_with("Back-off")) {
      why = newest_event(f_.events, "Failed", c["name"].str(), "pull")["message"].str(why);
    }
    why = registry_answer(why);
    return wrong(reason,
                 strf("%s has no image: pulling %s failed: %s%s.", capital.c_str(), image.c_str(),
                      quoted_part(why).c_str(), retry(device).c_str()),
                 pull_remedy(why, c["image"].str()));
  }

  // What the newest failed probe of that kind said: " (HTTP probe failed with statuscode: 500, 5s ago)".
  std::string probe_words(std::string_view container, std::string_view kind) const {
    const json::Ref e = newest_event(f_.events, "Unhealthy", container, kind);
    if (!e) return "";
    std::string_view m = e["message"].str();
    const size_t colon = m.find("failed: ");
    if (colon != std::string_view::npos) m.remove_prefix(colon + 8);
    const std::string when = ago(event_time(e), f_.now);
    return " (" + quoted_part(m) + (when.empty() ? "" : ", " + when) + ")";
  }

  Explanation unready(json::Ref c, json::Ref s, const std::string& who) const {
    const std::string name(c["name"].str()), capital = big(who);
    const std::string since = runtime_of(s["state"]["running"]["startedAt"], f_.now);
    const bool starting = !s["started"].boolean(true) && c["startupProbe"];
    const std::string probe = probe_words(name, starting ? "Startup" : "Readiness");
    Explanation e;
    if (starting) {
      e = probe.empty()
              ? underway("Starting", strf("%s runs since %s and its startup probe has not passed yet.",
                                          capital.c_str(), since.c_str()))
              : wrong("StartupProbe", strf("%s runs since %s, but its startup probe fails%s; it is restarted "
                                           "when it fails too often.",
                                           capital.c_str(), since.c_str(), probe.c_str()));
    } else if (c["readinessProbe"]) {
      e = probe.empty()
              ? underway("NotReady", strf("%s runs since %s and its readiness probe has not passed yet.",
                                          capital.c_str(), since.c_str()))
              : wrong("ReadinessProbe",
                      strf("%s runs since %s, but its readiness probe fails%s, so that it gets no requests.",
                           capital.c_str(), since.c_str(), probe.c_str()));
    } else {
      e = underway("NotReady", strf("%s runs since %s and is not ready yet (its postStart hook may be on).",
                                    capital.c_str(), since.c_str()));
    }
    if (e.state == Explanation::State::wrong)
      e.remedy = "Find out why the probe gets no good answer, or correct the probe.";
    e.log_container = name;
    return e;
  }

 private:
  const PodFacts& f_;
};

}  // namespace

json::Ref by_name(json::Ref list, std::string_view name) {
  for (json::Ref each : list) {
    if (each["name"].str() == name) return each;
  }
  return {};
}

bool recent(json::Ref event, WallTime now) {
  const auto then = parse_rfc3339(event_time(event));
  return then && now.seconds - then->seconds < recent_s;
}

std::string retry(json::Ref what) {
  const auto seconds = what["retryInSeconds"].exact_integer();
  return seconds ? "; the next try is " + from_now(*seconds) : "";
}

std::string said(json::Ref terminated) {
  const std::string_view m = terminated["message"].str();
  const bool not_its_own =
      terminated["reason"].str() == "StartError" || terminated["exitCode"].integer() == 128;
  return m.empty() || not_its_own ? "" : ", saying \"" + quoted_part(m) + "\"";
}

std::string runtime_of(json::Ref since, WallTime now) {
  const auto then = parse_rfc3339(since.str());
  const bool known = then && then->seconds <= now.seconds;
  return known ? schema::human_duration(now.seconds - then->seconds) : "a moment";
}

Explanation explain_container(const PodFacts& facts, json::Ref container, json::Ref status,
                              const std::string& who) {
  return ContainerCase(facts).container(container, status, who);
}

}  // namespace limpet::cli
