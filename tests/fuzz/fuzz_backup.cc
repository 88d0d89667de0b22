// Bytes of a backup file that nobody proved genuine yet, and those that somebody with the key may have made.
// The first byte chooses: a head; a sealed stream, and one made of these bytes, then bent or cut; records.
// An error with words, or what was put in; never a crash.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "backup/header.h"
#include "backup/records.h"
#include "pki/stream_seal.h"

using namespace limpet;
using namespace limpet::backup;

namespace {

void need(bool good) {
  if (!good) abort();
}

void head(std::string_view bytes) {
  const auto header = read_head(bytes);
  if (!header) return need(!header.error().message.empty());
  need(header->label.cluster.size() == 16 && header->iterations <= most_iterations);
  need(header->context.size() + 1 + header->wrapped.size() == bytes.size());
}

std::string sealed_of(const pki::SealKey& key, std::string_view plain) {
  auto sealer = pki::StreamSealer::make(key);
  std::string out;
  need(sealer && sealer->update(plain, out) && sealer->finish(out));
  return out;
}

bool open(const pki::SealKey& key, std::string_view sealed, size_t piece, std::string& out) {
  auto opener = pki::StreamOpener::make(key);
  need(opener.has_value());
  while (!sealed.empty()) {
    const auto fed = opener->update(sealed.substr(0, piece), out);
    if (!fed) return need(!fed.error().message.empty()), false;
    sealed.remove_prefix(std::min(piece, sealed.size()));
  }
  return opener->finish(out).has_value();
}

void stream(std::string_view bytes) {
  const pki::SealKey key{1, 2, 3};
  std::string out;
  need(!open(key, bytes, 4096, out) && out.empty());
  if (bytes.size() < 4) return;
  const size_t at = static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]);
  const auto how = static_cast<uint8_t>(bytes[2]);
  const std::string_view plain = bytes.substr(3);
  std::string sealed = sealed_of(key, plain);
  need(sealed.size() == pki::stream_sealed_size(plain.size()));
  need(open(key, sealed, 1 + how * 257, out) && out == plain);
  out.clear();
  sealed[at % sealed.size()] = static_cast<char>(sealed[at % sealed.size()] ^ (1 << how % 8));
  need(!open(key, sealed, 4096, out));
  sealed = sealed_of(key, plain).substr(0, at % sealed.size());
  need(!open(key, sealed, 4096, out));
}

void records(std::string_view bytes) {
  size_t seen = 0;
  RecordReader::Sink sink{
      [&](Manifest m) -> Result<> {
        seen++;
        need(m.cluster.size() == 16 && m.files.size() <= max_files);
        const auto again = parse_manifest(manifest_json(m));
        need(again && *again == m);
        return {};
      },
      [&](std::string_view name, std::string_view contents) -> Result<> {
        seen++;
        need(!name.empty() && name.find('/') == std::string_view::npos && contents.size() <= max_file);
        return {};
      },
      [&](std::string_view) -> Result<> {
        seen++;
        return {};
      }};
  RecordReader whole(sink), pieces(sink);
  const bool good = whole.feed(bytes).has_value();
  const size_t at_once = std::exchange(seen, 0);
  bool also = true;
  for (size_t at = 0; also && at < bytes.size(); at += 7) also = pieces.feed(bytes.substr(at, 7)).has_value();
  need(good == also && at_once == seen && whole.ended() == pieces.ended());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      head(bytes);
      break;
    case 1:
      stream(bytes);
      break;
    default:
      records(bytes);
  }
  return 0;
}
