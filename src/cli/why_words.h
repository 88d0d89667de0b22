// The words that `limpet why` has for what others say: the scheduler, registries, exit codes, events. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"

namespace limpet::cli {

struct Words {
  std::string text, remedy;
};

// The scheduler's message, which counts reasons over nodes.
Words scheduling_words(std::string_view message);
// What a registry, or the way to it, answered. Only the remedy: the answer itself is shown as it is.
std::string pull_remedy(std::string_view message, std::string_view image);
// What is left of the message of a failed pull without the frames around it that name the image again.
std::string_view registry_answer(std::string_view message);
// A volume or the network that cannot be set up, a container that cannot be configured or started.
std::string set_up_remedy(std::string_view message);
// How a run ended: "ended with exit status 1", "was ended by the kernel: it used more than ...". `container`
// is the pod's entry, for its limits.
Words exit_words(json::Ref terminated, json::Ref container);

// The newest event with the reason about the container (empty: about anything), as far as its message holds
// `part`.
json::Ref newest_event(json::Ref events, std::string_view reason, std::string_view container = {},
                       std::string_view part = {});
std::string_view event_time(json::Ref event);

// "in 25 s", "in 4 min": for a moment to come; "now" when it has come.
std::string from_now(int64_t seconds);
// "25 s ago"; empty for no time or one to come.
std::string ago(std::string_view time, WallTime now);
// The message as part of a sentence: no line feeds, no full stop at its end, at most 300 bytes.
std::string quoted_part(std::string_view message);

}  // namespace limpet::cli
