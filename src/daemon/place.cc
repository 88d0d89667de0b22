#include "daemon/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/atomic_file.h"
#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "cluster/device.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_file = 64u << 10;
constexpr size_t cluster_bytes = 16;

void strings(json::Writer& w, const char* key, const std::vector<std::string>& list) {
  w.key(key).begin_array();
  for (const std::string& s : list) w.string(s);
  w.end_array();
}

std::vector<std::string> strings(json::Cursor list) {
  std::vector<std::string> out;
  list.each([&](std::string_view, json::Cursor s) {
    out.push_back(s.str());
    return true;
  });
  return out;
}

Result<std::optional<std::string>> read_if_there(const std::string& path) {
  auto text = read_file(path, max_file);
  if (text) return std::optional<std::string>(std::move(*text));
  if (text.error().code == Errc::not_found) return std::optional<std::string>();
  return std::unexpected(text.error());
}

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

Result<> sync_directory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "open " + path);
  if (fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
  return {};
}

Result<> rename_to(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return fail_errno(errno, "rename " + from + " to " + to);
  return {};
}

Result<> cut([[maybe_unused]] std::string_view name) {
  if (LIMPET_FAILPOINT(name)) return fail(Errc::io, "failpoint " + std::string(name));
  return {};
}

// What node.db holds is sealed with device.key, and the pods of before are still to be ended properly: it
// goes along, and is where it goes before the directory in which it was is removed.
Result<> keep_seal_key(const std::string& data_dir, const std::string& staged) {
  const std::string key = data_dir + "/pki/device.key";
  if (!exists(staged + "/pki")) return {};
  if (exists(key)) CHECK_OK(rename_to(key, staged + "/pki/device.key"));
  CHECK_OK(cut("daemon.join.key"));
  return sync_directory(staged + "/pki");
}

// What the device was: its store, where the servers of its cluster were, and, as long as others are there to
// take their place, keys and certificates.
Result<> remove_former(const std::string& data_dir, const std::string& staged) {
  for (const char* old :
       {"/limpet.db", "/limpet.db-wal", "/limpet.db-shm", "/limpet.db.made", "/servers.json"}) {
    CHECK_OK(remove_tree(data_dir + old));
    CHECK_OK(cut("daemon.join.remove"));
  }
  if (exists(staged + "/pki")) CHECK_OK(remove_tree(data_dir + "/pki"));
  CHECK_OK(cut("daemon.join.removed"));
  return sync_directory(data_dir);
}

}  // namespace

std::string encode(const Place& place) {
  json::Writer w;
  w.begin_object().field("version", 1).field("cluster", hex(place.cluster));
  w.field("role", place.agent ? "agent" : "server");
  if (place.member != 0) w.field("member", cluster::member_text(place.member));
  w.key("servers").begin_array();
  for (const peer::Member& server : place.servers) {
    w.begin_object().field("member", cluster::member_text(server.id)).field("name", server.name);
    strings(w, "addresses", server.addresses);
    w.end_object();
  }
  w.end_array();
  strings(w, "api", place.api);
  w.end_object();
  return w.take();
}

Result<Place> decode_place(std::string_view text) {
  CHECK_OK(json::validate(text));
  const json::Cursor object(text);
  if (object["version"].integer() != 1)
    return fail(Errc::unsupported, "cluster.json is of another version of limpet");
  Place place;
  place.agent = object["role"].str() == "agent";
  place.cluster = unhex(object["cluster"].str()).value_or("");
  if (place.cluster.size() != cluster_bytes) return fail(Errc::corrupt, "cluster.json names no cluster");
  place.member = cluster::parse_member(object["member"].str());
  if (object["member"] && place.member == 0) return fail(Errc::corrupt, "cluster.json names no member");
  bool good = true;
  object["servers"].each([&](std::string_view, json::Cursor server) {
    peer::Member m;
    m.id = cluster::parse_member(server["member"].str());
    m.name = server["name"].str();
    m.addresses = strings(server["addresses"]);
    good = m.id != 0;
    place.servers.push_back(std::move(m));
    return good;
  });
  if (!good) return fail(Errc::corrupt, "cluster.json names a server without an id");
  place.api = strings(object["api"]);
  return place;
}

Result<std::optional<Place>> read_place(const std::string& data_dir) {
  TRY(const std::optional<std::string> text, read_if_there(data_dir + "/cluster.json"));
  if (!text) return std::optional<Place>();
  auto place = decode_place(*text);
  if (!place) return std::unexpected(std::move(place).error().with("read " + data_dir + "/cluster.json"));
  return std::optional<Place>(std::move(*place));
}

Result<> write_place(const std::string& data_dir, const Place& place) {
  return write_file_atomic(data_dir + "/cluster.json", encode(place), 0600, "daemon.place");
}

Result<std::optional<JoinOrder>> read_order(const std::string& data_dir) {
  TRY(const std::optional<std::string> text, read_if_there(data_dir + "/join.json"));
  if (!text) return std::optional<JoinOrder>();
  if (!json::validate(*text))
    return fail(Errc::corrupt, data_dir + "/join.json is damaged: remove it and run `limpet join` again");
  const json::Cursor object(*text);
  return std::optional<JoinOrder>(
      JoinOrder{object["url"].str(), object["token"].str(), object["role"].str() == "agent"});
}

Result<> write_order(const std::string& data_dir, const JoinOrder& order) {
  json::Writer w;
  w.begin_object().field("url", order.url).field("token", order.token);
  w.field("role", order.agent ? "agent" : "server").end_object();
  return write_file_atomic(data_dir + "/join.json", w.take(), 0600, "daemon.join_order");
}

Result<> drop_order(const std::string& data_dir) {
  CHECK_OK(remove_tree(data_dir + "/join.json"));
  return sync_directory(data_dir);
}

// A restored one has not been opened yet.
bool has_own_store(const std::string& data_dir) {
  return exists(data_dir + "/limpet.db.made") || exists(data_dir + "/limpet.db");
}

std::string role_of(const std::string& data_dir, const std::string& configured) {
  const auto name = [](bool agent) { return std::string(agent ? "agent" : "server"); };
  const auto staged = read_place(data_dir + "/joining"), place = read_place(data_dir);
  if (staged && *staged) return name((*staged)->agent);
  if (exists(data_dir + "/joining") && place && *place) return name((*place)->agent);  // it was moved already
  if (const auto order = read_order(data_dir); order && *order) return name((*order)->agent);
  if (place && *place) return name((*place)->agent);
  return configured;
}

std::string join_directory(const std::string& data_dir) { return data_dir + "/join"; }

Result<> stage_join(const std::string& data_dir, const Place& place, const pki::Joined& joined,
                    Random& random) {
  const std::string making = join_directory(data_dir), made = data_dir + "/joining";
  CHECK_OK(pki::install_joined(making + "/pki", joined, random));
  CHECK_OK(write_place(making, place));
  CHECK_OK(sync_directory(making));
  CHECK_OK(cut("daemon.join.staged"));
  CHECK_OK(remove_tree(made));
  CHECK_OK(sync_directory(data_dir));
  CHECK_OK(rename_to(making, made));
  CHECK_OK(cut("daemon.join.renamed"));
  return sync_directory(data_dir);
}

Result<bool> finish_join(const std::string& data_dir) {
  const std::string staged = data_dir + "/joining";
  if (!exists(staged)) return false;
  // In this order: as long as the directory is there, a start that was cut does all of it again. Between
  // steps directories are synced, since not every file system keeps what was done in the order in which it
  // was done.
  CHECK_OK(keep_seal_key(data_dir, staged));
  CHECK_OK(remove_former(data_dir, staged));
  if (exists(staged + "/pki")) CHECK_OK(rename_to(staged + "/pki", data_dir + "/pki"));
  CHECK_OK(cut("daemon.join.pki"));
  if (exists(staged + "/cluster.json"))
    CHECK_OK(rename_to(staged + "/cluster.json", data_dir + "/cluster.json"));
  CHECK_OK(cut("daemon.join.cluster"));
  CHECK_OK(remove_tree(data_dir + "/join.json"));
  CHECK_OK(sync_directory(data_dir));
  CHECK_OK(cut("daemon.join.order"));
  CHECK_OK(remove_tree(staged));
  CHECK_OK(cut("daemon.join.end"));
  CHECK_OK(sync_directory(data_dir));
  return true;
}

}  // namespace limpet::daemon
