#include "schema/columns_pod.h"
#include "schema/selector.h"

namespace limpet::schema {

namespace {

using json::Cursor;

// "a,b": one member of each container of the template.
std::string of_containers(Cursor object, std::string_view member) {
  std::string out;
  object["spec"]["template"]["spec"]["containers"].each([&](std::string_view, Cursor c) {
    if (!out.empty()) out += ',';
    out += c[member].str();
    return true;
  });
  return out;
}

void template_cells(Cursor object, Cells& cells) {
  cells.text("containers", of_containers(object, "name"));
  cells.text("images", of_containers(object, "image"));
  const Result<LabelSelector> selector = LabelSelector::from_object(object["spec"]["selector"]);
  cells.text("selector", selector ? selector->str() : "<invalid>");
}

}  // namespace

void deployment_cells(Cursor deployment, Cells& cells) {
  const Cursor status = deployment["status"];
  cells.text("ready", std::to_string(status["readyReplicas"].integer()) + "/" +
                          std::to_string(deployment["spec"]["replicas"].integer()));
  cells.number("up-to-date", status["updatedReplicas"].integer());
  cells.number("available", status["availableReplicas"].integer());
  template_cells(deployment, cells);
}

void replica_set_cells(Cursor set, Cells& cells) {
  const Cursor status = set["status"];
  cells.number("desired", set["spec"]["replicas"].integer());
  cells.number("current", status["replicas"].integer());
  cells.number("ready", status["readyReplicas"].integer());
  template_cells(set, cells);
}

}  // namespace limpet::schema
