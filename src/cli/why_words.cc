#include "cli/why_words.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/result.h"
#include "cli/format.h"
#include "schema/columns.h"

namespace limpet::cli {
namespace {

constexpr size_t max_part = 300;
constexpr int signal_base = 128;  // a shell's exit status for a child that a signal ended

bool in(std::string_view text, std::string_view part) {
  const auto same = [](char a, char b) {
    return (a | 0x20) == (b | 0x20);  // good enough for the letters that stand in messages
  };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

struct Row {
  const char* part;  // of the message, any case
  const char* text;
  const char* remedy;
};

// The first row whose part is in the message.
template <size_t n>
const Row* find(const Row (&rows)[n], std::string_view message) {
  const auto* found =
      std::find_if(std::begin(rows), std::end(rows), [&](const Row& r) { return in(message, r.part); });
  return found == std::end(rows) ? nullptr : found;
}

constexpr Row scheduling[] = {
    {"Insufficient memory", "no device has as much memory left as it requests",
     "Lower its memory request, or stop another pod."},
    {"Insufficient cpu", "no device has as much CPU left as it requests",
     "Lower its CPU request, or stop another pod."},
    {"Insufficient ephemeral-storage", "no device has as much disk left as it requests",
     "Lower its request for ephemeral-storage, or free disk space."},
    {"Insufficient ", "no device has as much as it requests of a resource",
     "Lower its requests, or stop another pod."},
    {"Too many pods", "the device runs as many pods as it may",
     "Delete a pod, or raise node.maxPods in limpetd's configuration."},
    {"untolerated taint", "the devices are marked (tainted) so that only chosen pods run there",
     "Give the pod a toleration, or take the taint away: kubectl taint node NAME KEY-."},
    {"were unschedulable", "the device takes no new pods (it is cordoned)",
     "Let it take pods again: kubectl uncordon NAME."},
    {"node affinity/selector", "no device has the labels that it asks for (nodeSelector or nodeAffinity)",
     "Label the device (node.labels in the configuration), or correct the pod's selector."},
    {"free ports", "another pod uses the host port that it asks for",
     "Choose another hostPort, or delete the pod that has it."},
    {"no nodes available", "no device has joined yet", "See what keeps this one: limpet status."},
};

constexpr Row pulls[] = {
    {"failed to authorize", "",
     "Check the registry's user and password (imagePullSecrets, or registries.authFile)."},
    {"unauthorized", "",
     "Check the registry's user and password (imagePullSecrets, or registries.authFile)."},
    {"denied", "", "Check the image's name and whether its registry wants a password (imagePullSecrets)."},
    {"forbidden", "", "Check the image's name and whether its registry wants a password (imagePullSecrets)."},
    {"toomanyrequests", "",
     "The registry limits how often it is asked: wait, or give it a user with imagePullSecrets."},
    {"429", "", "The registry limits how often it is asked: wait, or give it a user with imagePullSecrets."},
    {"no space left", "",
     "Free disk space: limpet image ls shows what is in use, limpet doctor how full the disk is."},
    {"certificate", "",
     "Name the registry's authority with registries.caFile, and check the device's clock."},
    {"no match for platform", "", "The image has no variant for this kind of processor: use one that has."},
    {"name or service", "", "Check the network and DNS of the device: limpet doctor."},
    {"temporary failure", "", "Check the network and DNS of the device: limpet doctor."},
    {"refused", "", "Check that the registry runs and that its address is right."},
    {"unreachable", "", "Check the network of the device: limpet doctor."},
    {"timed out", "", "Check the network of the device: limpet doctor."},
    {"timeout", "", "Check the network of the device: limpet doctor."},
    {"not found", "", "Check the image's name and tag."},
    {"unknown", "", "Check the image's name and tag."},
};

constexpr Row set_ups[] = {
    {"configmap", "", "Create the ConfigMap (or the key in it), or correct its name in the pod."},
    {"secret", "", "Create the Secret (or the key in it), or correct its name in the pod."},
    {"couldn't find key", "", "Add the key, or correct its name in the pod."},
    {"non-existent config key", "", "Add the key, or correct its name in the pod."},
    {"serviceaccount", "", "Create the ServiceAccount, or correct its name in the pod."},
    {"no token", "", "The token comes from the API: see limpet status."},
    {"hostPath type check", "", "Make what the hostPath names, or correct its path or type in the pod."},
    {"not supported on this device", "", "Use a volume of another kind: docs/compatibility.md lists them."},
    {"runAsNonRoot", "", "Set runAsUser to a user other than 0, or use an image that names one."},
    {"no space left", "", "Free disk space: limpet doctor shows where."},
    {"read-only file system", "", "The disk may be failing: limpet doctor."},
    {"executable file not found", "", "Correct the command in the pod: the image has no such program."},
    {"no such file or directory", "",
     "Correct the command or the path in the pod: the image has no such file."},
    {"exec format error", "", "Use an image that is built for this kind of processor."},
    {"permission denied", "", "Make the program executable in the image, or correct the command in the pod."},
    {"nft", "", "See what the pod network lacks: limpet doctor."},
    {"network", "", "See what the pod network lacks: limpet doctor."},
    {"runtime", "", "See whether the container runtime works: limpet doctor."},
};

std::string signal_name(int number) {
  const char* known = sigabbrev_np(number);
  return known ? std::string("SIG") + known : "signal " + std::to_string(number);
}

}  // namespace

Words scheduling_words(std::string_view message) {
  // What would have to be evicted is another matter than what is lacking.
  const Row* row = find(scheduling, message.substr(0, message.find("preemption:")));
  if (!row) return {quoted_part(message), "Look at the pod's requests, node selector and tolerations."};
  return {row->text, row->remedy};
}

std::string pull_remedy(std::string_view message, std::string_view image) {
  const Row* row = find(pulls, message);
  if (row) return row->remedy;
  return "Try it by hand: limpet image pull " + printable(image) + ".";
}

std::string_view registry_answer(std::string_view m) {
  for (const std::string_view frame :
       {"failed to pull and unpack image \"", "failed to resolve reference \""}) {
    const size_t end = m.find("\": ");
    if (m.starts_with(frame) && end != std::string_view::npos) m.remove_prefix(end + 3);
  }
  return m;
}

std::string set_up_remedy(std::string_view message) {
  const Row* row = find(set_ups, message);
  return row ? row->remedy : "Correct what the message names; limpet doctor looks at the device itself.";
}

Words exit_words(json::Ref t, json::Ref container) {
  const int64_t code = t["exitCode"].integer();
  int64_t number = t["signal"].integer();
  if (number == 0 && code > signal_base && code < signal_base + 65) number = code - signal_base;
  const std::string_view reason = t["reason"].str();
  if (reason == "OOMKilled") {
    const std::string limit(container["resources"]["limits"]["memory"].str());
    return {limit.empty() ? "was killed since the device ran out of memory"
                          : "was killed since it used more than its memory limit of " + limit,
            limit.empty()
                ? "Give the pods memory limits, so that none takes all: limpet top shows who uses it."
                : "Raise its memory limit, or find out why it needs that much."};
  }
  if (reason == "StartError" || (code == 128 && t["message"].is_string())) {
    return {"could not be started: " + quoted_part(t["message"].str()), set_up_remedy(t["message"].str())};
  }
  if (reason == "ContainerStatusUnknown") return {"was gone when the device looked for it", ""};
  if (number > 0) {
    const std::string name = signal_name(static_cast<int>(number));
    const bool crash = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGABRT ||
                       number == SIGFPE || number == SIGSYS;
    if (crash) return {"crashed (" + name + ")", "The program itself fails: its last lines may say where."};
    return {strf("was ended by %s (exit status %lld)", name.c_str(), static_cast<long long>(code)),
            number == SIGKILL ? "Something outside of the container killed it: a failed liveness probe, or "
                                "the end of its grace period."
                              : ""};
  }
  if (code == 0) return {"ended with exit status 0", ""};
  const std::string text = strf("failed with exit status %lld", static_cast<long long>(code));
  if (code == 126) return {text + " (the command cannot be executed)", "Correct the command in the pod."};
  if (code == 127) return {text + " (there is no such command)", "Correct the command in the pod."};
  return {text, "The program itself fails: its last lines may say why."};
}

std::string_view event_time(json::Ref event) {
  for (const char* key : {"lastTimestamp", "eventTime", "firstTimestamp"}) {
    if (!event[key].str().empty()) return event[key].str();
  }
  return event["metadata"]["creationTimestamp"].str();
}

json::Ref newest_event(json::Ref events, std::string_view reason, std::string_view container,
                       std::string_view part) {
  json::Ref newest;
  const std::string field = "{" + std::string(container) + "}";
  for (json::Ref e : events) {
    if (e["reason"].str() != reason || !in(e["message"].str(), part)) continue;
    if (!container.empty() && !e["involvedObject"]["fieldPath"].str().ends_with(field)) continue;
    if (!newest || event_time(newest) <= event_time(e)) newest = e;
  }
  return newest;
}

std::string from_now(int64_t seconds) {
  if (seconds <= 0) return "now";
  return "in " + schema::human_duration(seconds);
}

std::string ago(std::string_view time, WallTime now) {
  const auto then = parse_rfc3339(time);
  if (!then || then->seconds > now.seconds) return "";
  return schema::human_duration(now.seconds - then->seconds) + " ago";
}

std::string quoted_part(std::string_view message) {
  std::string out;
  size_t length = std::min(message.size(), max_part);
  while (length < message.size() && length > 0 && (message[length] & 0xC0) == 0x80)
    length--;  // whole letters
  bool space = false;
  for (const char c : message.substr(0, length)) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      space = !out.empty();
      continue;
    }
    if (std::exchange(space, false)) out += ' ';
    out += c;
  }
  out = printable(out);
  while (out.ends_with('.')) out.pop_back();
  if (message.size() > length) out += "...";
  return out;
}

}  // namespace limpet::cli
