// Why a pod does not run, or that it runs well, in words for people. Pure: from what the API and the device
// know of the pod to one paragraph.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/json.h"

namespace limpet::cli {

// Borrowed; every member but `pod` may be missing.
struct PodFacts {
  json::Ref pod;     // the API's object
  json::Ref events;  // list of Events about it, in any order
  json::Ref node;    // the Node that it is bound to
  json::Ref device;  // what this device's agent says of it (GET /limpet/v1/pods/NAMESPACE/POD)
  WallTime now;
};

struct Explanation {
  enum class State {
    well,      // it runs, or ended as it should
    underway,  // on the way up or down, nothing is wrong so far
    wrong,
  };
  State state = State::well;
  std::string reason;  // one word for programs: "CrashLoopBackOff", "Running"
  std::string text;    // what is and why: one or a few sentences
  std::string remedy;  // what to do, one sentence; empty when nothing is to be done
  // Whose last lines tell more; empty: nobody's.
  std::string log_container;
};

Explanation explain_pod(const PodFacts& facts);

}  // namespace limpet::cli
