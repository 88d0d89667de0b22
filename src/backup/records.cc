#include "backup/records.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/json.h"
#include "base/varint.h"
#include "pki/stream_seal.h"

namespace limpet::backup {
namespace {

constexpr int64_t manifest_format = 1;
constexpr size_t cluster_bytes = 16, max_name = 64;
constexpr size_t max_varint = 10;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, "what is in it is damaged: " + std::string(what));
}

size_t limit_of(uint8_t type) {
  switch (static_cast<RecordType>(type)) {
    case RecordType::manifest:
      return max_manifest;
    case RecordType::file:
      return max_file + max_name + max_varint;
    case RecordType::state:
      return max_state;
    case RecordType::end:
      return max_varint;
  }
  return 0;
}

// A name of one file, as it will stand in a directory.
bool good_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= max_name && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), good);
}

}  // namespace

std::string manifest_json(const Manifest& m) {
  json::Writer w;
  w.begin_object().field("format", manifest_format).field("cluster", hex(m.cluster));
  w.field("node", m.node).field("limpet", m.limpet).field("time", m.time).field("revision", m.revision);
  w.field("term", m.term).field("storeSchema", m.store_schema).field("stateBytes", m.state_bytes);
  w.field("confirmed", m.confirmed).key("files").begin_array();
  for (const Manifest::File& file : m.files)
    w.begin_object().field("name", file.name).field("bytes", file.bytes).end_object();
  w.end_array().end_object();
  return w.take();
}

Result<Manifest> parse_manifest(std::string_view text) {
  auto parsed = json::parse(text, {.max_depth = 4, .max_values = 256});
  if (!parsed) return corrupt("its manifest: " + parsed.error().message);
  const json::Ref v = parsed->ref();
  if (const int64_t format = v["format"].integer(); format > manifest_format) {
    return fail(Errc::unsupported,
                strf("its manifest has format %lld, this limpet knows %lld: it was made by a "
                     "newer limpet",
                     static_cast<long long>(format), static_cast<long long>(manifest_format)));
  }
  Manifest m;
  m.cluster = unhex(v["cluster"].str()).value_or("");
  m.node = v["node"].str();
  m.limpet = v["limpet"].str();
  m.time = v["time"].integer(-1);
  m.revision = v["revision"].integer(-1);
  m.term = v["term"].integer(-1);
  m.store_schema = v["storeSchema"].integer(-1);
  m.state_bytes = v["stateBytes"].integer(-1);
  m.confirmed = v["confirmed"].boolean();
  for (json::Ref file : v["files"]) {
    m.files.push_back({std::string(file["name"].str()), file["bytes"].integer(-1)});
    if (!good_name(m.files.back().name) || m.files.back().bytes < 0) return corrupt("its manifest's files");
  }
  const bool numbers =
      m.time >= 0 && m.revision >= 0 && m.term >= 0 && m.store_schema >= 0 && m.state_bytes >= 0;
  if (v["format"].integer() != manifest_format || m.cluster.size() != cluster_bytes || !numbers ||
      m.files.size() > max_files)
    return corrupt("its manifest");
  return m;
}

std::string record(RecordType type, std::string_view bytes) {
  std::string out(1, static_cast<char>(type));
  put_bytes(out, bytes);
  return out;
}

std::string file_record(std::string_view name, std::string_view bytes) {
  std::string body;
  put_bytes(body, name);
  body += bytes;
  return record(RecordType::file, body);
}

std::string end_record(uint64_t records) {
  std::string body;
  put_varint(body, records);
  return record(RecordType::end, body);
}

uint64_t estimate(const Manifest& m) {
  uint64_t plain = max_manifest / 16 + static_cast<uint64_t>(m.state_bytes) / 16 * 17;
  for (const Manifest::File& file : m.files) plain += static_cast<uint64_t>(file.bytes);
  return pki::stream_sealed_size(plain);
}

Result<> RecordReader::feed(std::string_view bytes) {
  while (true) {
    const size_t n = std::min(bytes.size(), pki::stream_chunk);
    buffer_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    size_t at = 0;
    while (at < buffer_.size()) {
      const auto type = static_cast<uint8_t>(buffer_[at]);
      if (limit_of(type) == 0) return corrupt(strf("a record of type %d", type));
      ByteReader in(std::string_view(buffer_).substr(at + 1));
      const uint64_t size = in.varint();
      if (!in.ok() && buffer_.size() - at > max_varint) return corrupt("the length of a record");
      if (!in.ok()) break;  // more of it is to come
      if (size > limit_of(type)) return corrupt("a record that is too large");
      if (in.left() < size) break;
      CHECK_OK(take(static_cast<RecordType>(type),
                    std::string_view(buffer_).substr(buffer_.size() - in.left(), size)));
      at = buffer_.size() - in.left() + size;
    }
    buffer_.erase(0, at);
    if (bytes.empty()) return {};
  }
}

Result<> RecordReader::take(RecordType type, std::string_view bytes) {
  if (ended_) return corrupt("it goes on behind its end");
  if ((records_ == 0) != (type == RecordType::manifest)) return corrupt("its manifest is not its beginning");
  if (type == RecordType::manifest) {
    TRY(manifest_, parse_manifest(bytes));
    CHECK_OK(sink_.manifest(manifest_));
  } else if (type == RecordType::file) {
    CHECK_OK(take_file(bytes));
  } else if (files_ != manifest_.files.size()) {
    return corrupt("files that its manifest names are missing");
  } else if (type == RecordType::state) {
    state_ = true;
    CHECK_OK(sink_.state(bytes));
  } else {
    ByteReader in(bytes);
    const uint64_t records = in.varint();
    if (!in.ok() || !in.at_end() || records != records_ || !state_) return corrupt("its end");
    ended_ = true;
  }
  records_++;
  return {};
}

Result<> RecordReader::take_file(std::string_view bytes) {
  ByteReader in(bytes);
  const std::string_view name = in.bytes(max_name);
  if (!in.ok() || state_ || files_ >= manifest_.files.size()) return corrupt("a file");
  const Manifest::File& want = manifest_.files[files_++];
  const std::string_view contents = bytes.substr(bytes.size() - in.left());
  if (name != want.name || contents.size() != static_cast<size_t>(want.bytes) || contents.size() > max_file)
    return corrupt("a file that is not what its manifest says");
  return sink_.file(name, contents);
}

Result<> RecordReader::finish() const {
  if (!ended_ || !buffer_.empty()) return corrupt("its end is missing");
  return {};
}

}  // namespace limpet::backup
