// What the two halves of `limpet why` share: the pod as a whole (why.cc), one container of it
// (why_container.cc). Pure.
#pragma once

#include <string>

#include "cli/format.h"
#include "cli/why.h"
#include "cli/why_words.h"

namespace limpet::cli {

// A container that does not run, or runs and is not ready. `who` stands within a sentence: "container app".
Explanation explain_container(const PodFacts& facts, json::Ref container, json::Ref status,
                              const std::string& who);

// The first entry of that name.
json::Ref by_name(json::Ref list, std::string_view name);

inline std::string text_of(json::Ref r) { return printable(r.str()); }

inline long long number(int64_t n) { return n; }  // for strf

inline Explanation wrong(std::string_view reason, std::string text, std::string remedy = "") {
  return {Explanation::State::wrong, printable(reason), std::move(text), std::move(remedy), ""};
}

inline Explanation underway(std::string_view reason, std::string text, std::string remedy = "") {
  return {Explanation::State::underway, printable(reason), std::move(text), std::move(remedy), ""};
}

// Failures that are older are no news: what failed then was repaired, or would have failed again.
bool recent(json::Ref event, WallTime now);
// "; the next try is in 40s", from what the device says; empty where it does not.
std::string retry(json::Ref step_or_container);
// A container's own last words (terminationMessagePath), as the end of a sentence.
std::string said(json::Ref terminated);
// "3h" since then.
std::string runtime_of(json::Ref since, WallTime now);

}  // namespace limpet::cli
