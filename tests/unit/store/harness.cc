#include "harness.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>

#include "base/unique_fd.h"

namespace limpet::store::test {

TempDir::TempDir() {
  // In memory where there is room for it: what the tests are about is not the speed of this machine's disk.
  struct statvfs vfs;
  const bool shm = statvfs("/dev/shm", &vfs) == 0 && vfs.f_bavail * vfs.f_frsize > (256u << 20);
  const char* base = getenv("TMPDIR");
  path_ = std::string(base ? base : shm ? "/dev/shm" : "/tmp") + "/limpet-store-XXXXXX";
  REQUIRE(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  nftw(
      path_.c_str(), [](const char* p, const struct stat*, int, FTW*) { return ::remove(p); }, 8,
      FTW_DEPTH | FTW_PHYS);
}

std::string read_file(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  char buffer[65536];
  ssize_t n;
  while (fd && (n = read(fd.get(), buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<size_t>(n));
  return out;
}

void write_file(const std::string& path, const std::string& bytes) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  REQUIRE(fd);
  REQUIRE(write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

Op put(std::string key, std::string value, std::optional<Revision> expect) {
  return {Op::Type::put, std::move(key), std::move(value), expect};
}

Op del(std::string key, std::optional<Revision> expect) {
  return {Op::Type::remove, std::move(key), {}, expect};
}

Harness::Harness(Options o) : options(std::move(o)) {}

Harness::~Harness() { drop(); }

Result<> Harness::open() {
  TRY(store_, Store::open(loop_, options, clock));
  store_->on_fatal([this](Error e) { fatal.push_back(std::move(e)); });
  return {};
}

void Harness::must_open() {
  const auto r = open();
  REQUIRE_MESSAGE(r, r.error().message);
}

void Harness::close() {
  bool closed = false;
  store_->close([&] { closed = true; });
  REQUIRE(turn_until([&] { return closed; }));
  store_.reset();
}

void Harness::drop() { store_.reset(); }

bool Harness::turn_until(const std::function<bool()>& done) { return loop_.run_until(done, 30000); }

void Harness::turn(int times) {
  for (int i = 0; i < times; ++i) {
    bool turned = false;
    loop_.defer([&] { turned = true; });
    turn_until([&] { return turned; });
  }
}

Result<Committed> Harness::commit(Space& space, std::vector<Op> ops) {
  std::optional<Result<Committed>> out;
  space.commit({std::move(ops)}, [&](Result<Committed> r) { out = std::move(r); });
  REQUIRE(turn_until([&] { return out.has_value(); }));
  return *out;
}

Revision Harness::must_put(const std::string& key, const std::string& v) {
  const auto r = commit({put(key, v)});
  REQUIRE_MESSAGE(r, r.error().message);
  return r->revision;
}

Result<std::optional<Item>> Harness::get(Space& space, const std::string& key) {
  std::optional<Result<std::optional<Item>>> out;
  space.get(key, [&](auto r) { out = std::move(r); });
  REQUIRE(turn_until([&] { return out.has_value(); }));
  return *out;
}

std::string Harness::value(const std::string& key) {
  const auto r = get(key);
  REQUIRE_MESSAGE(r, r.error().message);
  return *r ? *(*r)->value : "<none>";
}

Result<Page> Harness::list(Space& space, const std::string& prefix, const std::string& after,
                           Revision revision, size_t limit) {
  std::optional<Result<Page>> out;
  space.list(prefix, after, revision, limit, [&](auto r) { out = std::move(r); });
  REQUIRE(turn_until([&] { return out.has_value(); }));
  return *out;
}

Result<std::vector<Item>> Harness::all(const std::string& prefix, Revision revision, size_t limit) {
  std::vector<Item> items;
  std::string after;
  for (;;) {
    TRY(Page page, list(durable(), prefix, after, revision, limit));
    revision = page.revision;
    for (Item& i : page.items) items.push_back(std::move(i));
    if (!page.more) return items;
    after = items.back().key;
  }
}

Watch::Sink Seen::sink() {
  return {[this](std::span<const Event> e) {
            calls.push_back(e.size());
            events.insert(events.end(), e.begin(), e.end());
          },
          [this](Error e) { lost = std::move(e); }};
}

std::string text_of(const Event& e) {
  static const char* const kNames[] = {"created", "modified", "deleted"};
  return strf("%lld %s %s %s %s", static_cast<long long>(e.revision), kNames[static_cast<int>(e.type)],
              e.key.c_str(), e.value ? e.value->c_str() : "-", e.previous ? e.previous->c_str() : "-");
}

}  // namespace limpet::store::test
