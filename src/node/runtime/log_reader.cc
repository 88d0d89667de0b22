// Reading a rotated log: where to begin, line by line forward, and waiting for more.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/unique_fd.h"
#include "loop/poll.h"
#include "node/runtime/cri_log.h"

namespace limpet::node {
namespace {

constexpr size_t slice_bytes = 64 * 1024;
constexpr int max_rotated = 32;

std::string rotated_name(const std::string& path, int index) {
  return index == 0 ? path : path + "." + std::to_string(index);
}

class Reader final : public LogReader {
 public:
  Reader(loop::Loop& loop, const std::string& path, const LogOptions& options, Events events)
      : loop_(loop), path_(path), options_(options), events_(std::move(events)), left_(options.limit_bytes) {}
  ~Reader() override { *alive_ = false; }

  Result<> open_first() {
    int last = 0;
    while (last < max_rotated && access(rotated_name(path_, last + 1).c_str(), F_OK) == 0) ++last;
    if (options_.tail_lines >= 0) {
      CHECK_OK(open_index(0));
      searching_ = true;
      position_ = end_of_file();
      return {};
    }
    return open_index(last);
  }

  Result<> watch() {
    if (!options_.follow) return {};
    notify_ = UniqueFd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!notify_) return fail_errno(errno, "inotify");
    std::string dir = path_.substr(0, path_.rfind('/') + 1);
    if (inotify_add_watch(notify_.get(), dir.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) <
        0) {
      return fail_errno(errno, "watch " + dir);
    }
    TRY(poll_, loop::Poll::make(loop_, notify_.get()));
    poll_->start(true, false, [this](loop::PollEvents) {
      char buffer[4096];
      while (read(notify_.get(), buffer, sizeof buffer) > 0) continue;
      schedule();
    });
    return {};
  }

  void schedule() {
    if (scheduled_ || paused_ || ended_) return;
    scheduled_ = true;
    loop_.defer([this, alive = alive_] {
      if (!*alive) return;
      scheduled_ = false;
      if (!paused_ && !ended_) step();
    });
  }

  void pause(bool paused) override {
    paused_ = paused;
    if (!paused) schedule();
  }

  void finish() override {
    finishing_ = true;
    schedule();
  }

 private:
  Result<> open_index(int index) {
    std::string name = rotated_name(path_, index);
    UniqueFd fd(open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK));
    if (!fd) return fail_errno(errno, name);
    struct stat st{};
    if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return fail(Errc::not_found, name + " is no file");
    fd_ = std::move(fd);
    inode_ = st.st_ino;
    position_ = 0;
    carry_.clear();
    return {};
  }

  int64_t end_of_file() const {
    struct stat st{};
    return fstat(fd_.get(), &st) == 0 ? st.st_size : 0;
  }

  // Under which name the open file is to be found now; -1 when rotated away for good.
  int current_index() const {
    for (int i = 0; i <= max_rotated; ++i) {
      struct stat st{};
      if (stat(rotated_name(path_, i).c_str(), &st) != 0) {
        if (i > 0) return -1;
        continue;
      }
      if (st.st_ino == inode_) return i;
    }
    return -1;
  }

  bool wanted(const LogLine& line) const {
    if (options_.since && line.time < *options_.since) return false;
    return options_.stream == LogOptions::Stream::all ||
           line.is_stderr == (options_.stream == LogOptions::Stream::err);
  }

  void step() {
    if (searching_)
      search();
    else
      forward();
  }

  // ---- backwards, for tail_lines: one slice of whole lines per turn

  void search() {
    int64_t from = std::max<int64_t>(0, position_ - static_cast<int64_t>(slice_bytes));
    std::string slice = read_at(from, static_cast<size_t>(position_ - from));
    size_t begin = 0;
    if (from > 0) {
      size_t newline = slice.find('\n');
      begin =
          newline == std::string::npos ? slice.size() : newline + 1;  // a line longer than a slice is no line
    }
    size_t end = slice.size();
    while (end > begin) {
      size_t last = end >= 2 ? slice.rfind('\n', end - 2) : std::string::npos;
      size_t start = last == std::string::npos || last < begin ? begin : last + 1;
      std::string_view text(slice.data() + start, end - start);
      if (text.ends_with('\n')) text.remove_suffix(1);
      std::optional<LogLine> line = parse_log_line(text);
      if (line && wanted(*line) && !line->partial && ++found_ > options_.tail_lines) {
        return begin_at(from + static_cast<int64_t>(end));
      }
      end = start;
    }
    position_ = from + static_cast<int64_t>(begin == slice.size() ? 0 : begin);
    if (position_ > 0) return schedule();
    int older = current_index() + 1;
    if (older <= 0 || older > max_rotated || !open_index(older)) return begin_at(0);
    position_ = end_of_file();
    schedule();
  }

  void begin_at(int64_t position) {
    searching_ = false;
    position_ = position;
    schedule();
  }

  // ---- forwards

  std::string read_at(int64_t position, size_t size) {
    std::string bytes(std::min(size, slice_bytes), '\0');
    size_t used = 0;
    while (used < bytes.size()) {
      ssize_t n =
          pread(fd_.get(), bytes.data() + used, bytes.size() - used, position + static_cast<int64_t>(used));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      used += static_cast<size_t>(n);
    }
    bytes.resize(used);
    return bytes;
  }

  void forward() {
    std::string slice = read_at(position_, slice_bytes);
    if (slice.empty()) return at_end();
    position_ += static_cast<int64_t>(slice.size());
    carry_ += slice;
    std::string out;
    size_t at = 0;
    for (size_t end; (end = carry_.find('\n', at)) != std::string::npos; at = end + 1) {
      emit(std::string_view(carry_).substr(at, end - at), out);
      if (left_ == 0) break;
    }
    carry_.erase(0, at);
    if (carry_.size() > 2 * slice_bytes) carry_.clear();  // no newline for so long: damaged, skip
    std::shared_ptr<bool> alive = alive_;
    if (!out.empty() && events_.on_data) events_.on_data(out);
    if (!*alive) return;
    if (left_ == 0) return end({});
    schedule();
  }

  void emit(std::string_view bytes, std::string& out) {
    std::optional<LogLine> line = parse_log_line(bytes);
    if (!line || !wanted(*line)) return;
    size_t before = out.size();
    if (options_.timestamps && !inside_line_) out.append(line->time_text).push_back(' ');
    out.append(line->text);
    if (!line->partial) out.push_back('\n');
    inside_line_ = line->partial;
    if (left_ < 0) return;
    int64_t added = static_cast<int64_t>(out.size() - before);
    if (added > left_) out.resize(before + static_cast<size_t>(left_));
    left_ = std::max<int64_t>(0, left_ - added);
  }

  void at_end() {
    int index = current_index();
    if (index == 0 && (!options_.follow || finishing_)) return end({});
    if (index == 0) return;  // inotify wakes us
    // Rotated: the file after ours has the next lower number; if ours was removed meanwhile, the oldest left.
    int next = index - 1;
    if (index < 0) {
      next = 0;
      while (next < max_rotated && access(rotated_name(path_, next + 1).c_str(), F_OK) == 0) ++next;
    }
    if (!open_index(next)) {
      if (!options_.follow || finishing_) return end({});
      return;  // between rename and create; the creation wakes us
    }
    schedule();
  }

  void end(Result<> result) {
    if (ended_) return;
    ended_ = true;
    poll_.reset();
    std::function<void(Result<>)> f = std::move(events_.on_end);
    if (f) f(std::move(result));
  }

  loop::Loop& loop_;
  std::string path_;
  LogOptions options_;
  Events events_;
  int64_t left_;
  UniqueFd fd_, notify_;
  std::unique_ptr<loop::Poll> poll_;
  uint64_t inode_ = 0;
  int64_t position_ = 0;
  int64_t found_ = 0;
  std::string carry_;
  bool searching_ = false, paused_ = false, scheduled_ = false, finishing_ = false, ended_ = false,
       inside_line_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<LogReader>> open_log(loop::Loop& loop, const std::string& path,
                                            const LogOptions& options, LogReader::Events events) {
  auto reader = std::make_unique<Reader>(loop, path, options, std::move(events));
  CHECK_OK(reader->watch());
  CHECK_OK(reader->open_first());
  reader->schedule();
  return reader;
}

}  // namespace limpet::node
