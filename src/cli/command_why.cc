// limpet why.
#include "cli/format.h"
#include "cli/pods.h"
#include "cli/why.h"

namespace limpet::cli {
namespace {

constexpr int log_lines = 5;

// What helps to explain and may be missing: older daemons, other devices, nothing written yet.
json::Value optional(Context& context, const std::string& target) {
  auto value = context.daemon.get(target);
  return value ? std::move(*value) : json::Value();
}

std::vector<std::string> last_lines(Context& context, const PodName& pod, const std::string& container) {
  std::vector<std::string> out;
  if (container.empty()) return out;
  const auto text = context.daemon.ask(
      "GET", strf("%s/log?container=%s&tailLines=%d", Target{pod.ns, pod.pod, ""}.path().c_str(),
                  http::percent_encode(container).c_str(), log_lines));
  if (!text) return out;
  for (size_t at = 0; at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    if (end > at) out.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  return out;
}

const char* state_name(Explanation::State state) {
  return state == Explanation::State::well       ? "well"
         : state == Explanation::State::underway ? "underway"
                                                 : "wrong";
}

std::string as_json(const PodName& pod, const Explanation& e, const std::vector<std::string>& lines) {
  json::Writer w;
  w.begin_object().field("namespace", pod.ns).field("pod", pod.pod).field("state", state_name(e.state));
  w.field("reason", e.reason).field("text", e.text).field("remedy", e.remedy);
  w.field("logContainer", e.log_container).key("log").begin_array();
  for (const std::string& line : lines) w.string(line);
  w.end_array().end_object();
  return w.take() + "\n";
}

std::string as_text(const Explanation& e, const std::vector<std::string>& lines, size_t width) {
  std::string out = labelled("", e.remedy.empty() ? e.text : e.text + " " + e.remedy, 0, width);
  if (lines.empty()) return out;
  out += strf("\nThe last lines of %s:\n", printable(e.log_container).c_str());
  for (const std::string& line : lines) out += labelled("", line, 2, width);
  return out;
}

}  // namespace

Outcome<int> run_why(Context& context) {
  const auto name = named_pod(context);
  if (!name) return std::unexpected(name.error());
  const auto pod = fetch_pod(context, name->ns, name->pod);
  if (!pod) return std::unexpected(pod.error());
  const std::string ns = http::percent_encode(name->ns), encoded = http::percent_encode(name->pod);
  const json::Value events =
      optional(context, "/api/v1/namespaces/" + ns + "/events?fieldSelector=involvedObject.uid%3D" +
                            http::percent_encode(pod->ref()["metadata"]["uid"].str()));
  const json::Value device = optional(context, "/limpet/v1/pods/" + ns + "/" + encoded);
  json::Value node;
  if (const std::string_view bound = pod->ref()["spec"]["nodeName"].str(); !bound.empty()) {
    node = optional(context, "/api/v1/nodes/" + http::percent_encode(bound));
  }
  PodFacts facts{pod->ref(), events.ref()["items"], node.ref(), device.ref(), context.clock.wall()};
  const Explanation e = explain_pod(facts);
  const auto lines = last_lines(context, *name, e.log_container);
  const int status = e.state == Explanation::State::wrong ? exit_failed : exit_done;
  const std::string text =
      context.arguments.json ? as_json(*name, e, lines) : as_text(e, lines, context.output.width);
  return print(context, text, status);
}

}  // namespace limpet::cli
