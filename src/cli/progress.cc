#include "cli/progress.h"

#include <algorithm>

#include "base/result.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

constexpr size_t max_layers = 512;
constexpr int64_t redraw_ms = 80;

// "sha256:0123456789ab..." as its first twelve digits.
std::string short_digest(std::string_view digest) {
  const size_t colon = digest.find(':');
  if (colon != std::string_view::npos) digest.remove_prefix(colon + 1);
  return printable(digest.substr(0, 12));
}

}  // namespace

void Progress::layer(std::string_view digest, int64_t done, int64_t total, std::string_view phase,
                     int64_t now_ms) {
  auto it = std::find_if(layers_.begin(), layers_.end(), [&](const Layer& l) { return l.digest == digest; });
  if (it == layers_.end()) {
    if (layers_.size() >= max_layers) return;
    layers_.emplace_back().digest = digest;
    it = std::prev(layers_.end());
  }
  const bool news = it->phase != phase;
  it->phase = phase;
  it->total = std::max<int64_t>(total, 0);
  it->done = std::clamp<int64_t>(phase == "complete" ? total : done, 0, it->total);
  if (output_.err_terminal) return draw(now_ms, news);
  if (news && phase == "complete") {
    (void)output_.err(
        strf("layer %s complete, %s\n", short_digest(digest).c_str(), human_size(total).c_str()));
  }
}

std::string Progress::bar(size_t width) const {
  int64_t done = 0, total = 0;
  size_t complete = 0;
  std::string_view doing = "waiting";
  for (const Layer& l : layers_) {
    done += l.done;
    total += l.total;
    complete += l.phase == "complete";
    if (l.phase == "downloading" || (l.phase == "unpacking" && doing != "downloading")) doing = l.phase;
  }
  const int percent =
      total > 0 ? static_cast<int>(static_cast<double>(done) / static_cast<double>(total) * 100) : 0;
  const std::string right = strf(" %3d%%  %s of %s  layer %zu/%zu  %s", percent, human_size(done).c_str(),
                                 human_size(total).c_str(), std::min(complete + 1, layers_.size()),
                                 layers_.size(), std::string(doing).c_str());
  if (right.size() + 8 > width) return right.substr(1, width);
  const size_t cells = std::min<size_t>(width - right.size() - 2, 40);
  const size_t full = cells * static_cast<size_t>(percent) / 100;
  return "[" + std::string(full, '#') + std::string(cells - full, '-') + "]" + right;
}

void Progress::draw(int64_t now_ms, bool at_once) {
  if (!at_once && now_ms - drawn_ms_ < redraw_ms) return;
  drawn_ms_ = now_ms;
  shown_ = true;
  // The last column stays free: some terminals would go to the next line.
  (void)output_.err("\r" + bar(output_.width - 1) + "\033[K");
}

void Progress::say(std::string_view text) {
  clear();
  (void)output_.err(printable(text) + "\n");
}

void Progress::clear() {
  if (shown_) (void)output_.err("\r\033[K");
  shown_ = false;
}

}  // namespace limpet::cli
