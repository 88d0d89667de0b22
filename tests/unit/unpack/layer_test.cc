// The unpack child as a whole: what a good layer becomes, and how hostile ones are refused.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <zstd.h>

#include "../image/tar.h"
#include "../skip.h"
#include "base/bytes.h"
#include "base/sha256.h"
#include "gzip.h"
#include "support.h"

using namespace limpet;

namespace {

#define NEEDS_ROOT() \
  if (geteuid() != 0) SKIP_TEST("unpacking a layer needs root")

std::string zstd(const std::string& data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
  return out;
}

// Decoders have to keep this much of what came before; the size is not told, so that they believe it.
std::string zstd_window(const std::string& data, int log, int level = 3) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string out(ZSTD_compressBound(data.size()), '\0');
  ZSTD_inBuffer in{data.data(), data.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  while (in.pos < in.size) ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue);
  while (ZSTD_compressStream2(context, &to, &in, ZSTD_e_end) != 0) {
  }
  out.resize(to.pos);
  ZSTD_freeCCtx(context);
  return out;
}

struct stat stat_of(const std::string& path) {
  struct stat st{};
  REQUIRE_MESSAGE(lstat(path.c_str(), &st) == 0, path);
  return st;
}

std::string text_of(const std::string& path) {
  auto text = read_file(path, 1 << 20);
  REQUIRE(text.has_value());
  return *text;
}

std::string link_of(const std::string& path) {
  char buffer[4096];
  const ssize_t n = readlink(path.c_str(), buffer, sizeof buffer);
  return n < 0 ? "" : std::string(buffer, static_cast<size_t>(n));
}

bool listed(const Outcome& o, const char* key, const std::string& path) {
  for (const json::Ref item : o.report.ref()[key]) {
    if (*base64_decode(item.str()) == path) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a layer with everything in it") {
  NEEDS_ROOT();
  TempDir dir;
  const std::string long_name =
      std::string(90, 'a') + "/" + std::string(200, 'b') + "/" + std::string(255, 'c');
  const std::string capability(
      "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  const std::string tar = tar_of({
      {.name = "./", .type = '5', .mode = 0711},
      {.name = "bin/", .type = '5', .mode = 0755},
      {.name = "bin/su", .data = "suid", .mode = 04755, .uid = 0, .gid = 10},
      {.name = "bin/link", .type = '1', .link = "bin/su"},
      {.name = "bin/sh", .type = '2', .link = "/etc/../outside", .uid = 5},
      {.name = "tmp", .type = '5', .mode = 01777, .uid = 1000, .gid = 1001, .mtime = 1234567},
      {.name = "tmp/file", .data = "x", .mode = 0600, .uid = 1000, .mtime = 99},
      {.name = "pipe", .type = '6', .mode = 0620},
      {.name = "cap",
       .data = "c",
       .pax = pax_record("SCHILY.xattr.security.capability", capability) +
              pax_record("SCHILY.xattr.trusted.overlay.opaque", "y") +
              pax_record("SCHILY.xattr.user.note", "hello")},
      {.name = "short", .data = "long", .pax = pax_record("path", long_name)},
      {.name = "\xc3\xbc", .data = "u"},
      {.name = "deep/without/entries", .data = "d"},
  });
  const std::string forms[] = {tar, gzip(tar), zstd(tar), gzip(tar.substr(0, 1000)) + gzip(tar.substr(1000)),
                               zstd(tar.substr(0, 1000)) + zstd(tar.substr(1000))};
  int number = 0;
  for (const std::string& form : forms) {
    CAPTURE(number);
    const std::string t = dir.path + "/t" + std::to_string(number++);
    mkdir(t.c_str(), 0755);
    const Outcome o = run_unpack(form, t);
    REQUIRE_MESSAGE(o.ok(), o.text);
    CHECK_EQ(o.status, 0);
    CHECK_EQ(o.report.ref()["digest"].str(), "sha256:" + sha256_hex(tar));
    CHECK_EQ(o.report.ref()["bytes"].integer(), static_cast<int64_t>(tar.size()));
    CHECK_EQ(stat_of(t).st_mode & 07777, 0711u);
    CHECK_EQ(stat_of(t + "/bin/su").st_mode & 07777, 04755u);
    CHECK_EQ(stat_of(t + "/bin/su").st_gid, 10u);
    CHECK_EQ(stat_of(t + "/bin/su").st_ino, stat_of(t + "/bin/link").st_ino);
    CHECK_EQ(link_of(t + "/bin/sh"), "/etc/../outside");
    CHECK_EQ(stat_of(t + "/bin/sh").st_uid, 5u);
    CHECK_EQ(stat_of(t + "/tmp").st_mode & 07777, 01777u);
    CHECK_EQ(stat_of(t + "/tmp").st_uid, 1000u);
    CHECK_EQ(stat_of(t + "/tmp").st_gid, 1001u);
    CHECK_EQ(stat_of(t + "/tmp").st_mtime, 1234567);
    CHECK_EQ(stat_of(t + "/tmp/file").st_mtime, 99);
    CHECK(S_ISFIFO(stat_of(t + "/pipe").st_mode));
    char value[64];
    CHECK_EQ(getxattr((t + "/cap").c_str(), "security.capability", value, sizeof value), 20);
    CHECK_LT(getxattr((t + "/cap").c_str(), "trusted.overlay.opaque", value, sizeof value), 0);
    CHECK_EQ(text_of(t + "/" + long_name), "long");
    CHECK_EQ(text_of(t + "/\xc3\xbc"), "u");
    CHECK_EQ(stat_of(t + "/deep/without").st_mode & 07777, 0755u);
    CHECK(listed(o, "implicit", "deep"));
    CHECK(listed(o, "implicit", "deep/without"));
    CHECK_FALSE(listed(o, "implicit", "bin"));
  }
}

TEST_CASE("whiteouts and opaque directories, in any order") {
  NEEDS_ROOT();
  TempDir dir;
  const Outcome o = run_unpack(tar_of({
                                   {.name = "a/", .type = '5'},
                                   {.name = "a/.wh.gone"},
                                   {.name = "b/.wh..wh..opq"},
                                   {.name = "b/new", .data = "n"},
                                   {.name = ".wh.c"},
                                   {.name = "c/again", .data = "c"},
                                   {.name = "d/", .type = '5'},
                                   {.name = "d/x", .data = "x"},
                                   {.name = ".wh.d"},
                                   {.name = "e", .data = "e"},
                                   {.name = ".wh.e"},
                                   {.name = ".wh..wh.plnk/", .type = '5'},
                                   {.name = ".wh..wh.plnk/1.2", .data = "old"},
                               }),
                               dir.path);
  REQUIRE_MESSAGE(o.ok(), o.text);
  const struct stat gone = stat_of(dir.path + "/a/gone");
  CHECK(S_ISCHR(gone.st_mode));
  CHECK_EQ(gone.st_rdev, makedev(0, 0));
  CHECK(listed(o, "opaque", "b"));
  CHECK(listed(o, "opaque", "c"));
  CHECK(listed(o, "opaque", "d"));
  CHECK_FALSE(listed(o, "opaque", "a"));
  CHECK_EQ(text_of(dir.path + "/c/again"), "c");
  CHECK_EQ(text_of(dir.path + "/e"), "e");
  CHECK_NE(access((dir.path + "/.wh..wh.plnk").c_str(), F_OK), 0);
}

TEST_CASE("a later entry wins") {
  NEEDS_ROOT();
  TempDir dir;
  const Outcome o = run_unpack(tar_of({{.name = "f", .data = "first"},
                                       {.name = "f", .data = "second"},
                                       {.name = "d/", .type = '5', .mode = 0700},
                                       {.name = "d/", .type = '5', .mode = 0750},
                                       {.name = "l", .type = '2', .link = "/etc/passwd"},
                                       {.name = "l", .data = "no link"},
                                       {.name = "empty/", .type = '5'},
                                       {.name = "empty", .data = "file"}}),
                               dir.path);
  REQUIRE_MESSAGE(o.ok(), o.text);
  CHECK_EQ(text_of(dir.path + "/f"), "second");
  CHECK_EQ(stat_of(dir.path + "/d").st_mode & 07777, 0750u);
  CHECK(S_ISREG(stat_of(dir.path + "/l").st_mode));
  CHECK_EQ(text_of(dir.path + "/empty"), "file");
}

TEST_CASE("sparse files stay sparse") {
  NEEDS_ROOT();
  TempDir dir;
  // GNU sparse format 1.0: the map is in front of the data.
  std::string map = "1\n1048576\n5\n";
  map.append(512 - map.size(), '\0');
  const std::string pax = pax_record("GNU.sparse.major", "1") + pax_record("GNU.sparse.minor", "0") +
                          pax_record("GNU.sparse.name", "hole") +
                          pax_record("GNU.sparse.realsize", "4194304");
  const Outcome o =
      run_unpack(tar_of({{.name = "GNUSparseFile.0/hole", .data = map + "hello", .pax = pax}}), dir.path);
  REQUIRE_MESSAGE(o.ok(), o.text);
  const struct stat st = stat_of(dir.path + "/hole");
  CHECK_EQ(st.st_size, 4194304);
  CHECK_LT(st.st_blocks * 512, 1048576);
  auto text = read_file(dir.path + "/hole", 8 << 20);
  REQUIRE(text.has_value());
  CHECK_EQ(text->substr(1048576, 6), std::string("hello\0", 6));
}

TEST_CASE("hostile layers are refused with the entry named, and nothing appears outside") {
  NEEDS_ROOT();
  struct Row {
    const char* what;
    std::string bytes;
    const char* says;
    const char* code;
  };
  const std::string good = tar_of({{.name = "f", .data = std::string(100000, 'x')}});
  const Row rows[] = {
      {"parent", tar_of({{.name = "../limpet-escaped", .data = "x"}}),
       "entry \"../limpet-escaped\": path escapes the root", "invalid_argument"},
      {"parent inside", tar_of({{.name = "a/../../limpet-escaped", .data = "x"}}), "path escapes the root",
       "invalid_argument"},
      {"parent of an absolute name", tar_of({{.name = "/../limpet-escaped", .data = "x"}}),
       "path escapes the root", "invalid_argument"},
      {"through a link",
       tar_of({{.name = "l", .type = '2', .link = "/tmp"}, {.name = "l/limpet-escaped", .data = "x"}}),
       "entry \"l/limpet-escaped\": \"l\" is not a directory", "invalid_argument"},
      {"through a relative link",
       tar_of({{.name = "l", .type = '2', .link = ".."}, {.name = "l/limpet-escaped", .type = '5'}}),
       "entry \"l/limpet-escaped\"", "invalid_argument"},
      {"hard link up", tar_of({{.name = "h", .type = '1', .link = "../../etc/passwd"}}),
       "outside of the layer", "invalid_argument"},
      {"hard link absolute", tar_of({{.name = "h", .type = '1', .link = "/etc/passwd"}}), "not in the layer",
       "invalid_argument"},
      {"hard link to nothing", tar_of({{.name = "h", .type = '1', .link = "absent"}}), "not in the layer",
       "invalid_argument"},
      {"hard link to a link",
       tar_of({{.name = "l", .type = '2', .link = "/etc/passwd"}, {.name = "h", .type = '1', .link = "l"}}),
       "not a regular file", "invalid_argument"},
      {"hard link through a link",
       tar_of({{.name = "l", .type = '2', .link = "/etc"}, {.name = "h", .type = '1', .link = "l/passwd"}}),
       "not in the layer", "invalid_argument"},
      {"character device", tar_of({{.name = "null", .type = '3'}}), "device nodes are not allowed",
       "invalid_argument"},
      {"block device", tar_of({{.name = "sda", .type = '4'}}), "device nodes are not allowed",
       "invalid_argument"},
      {"whiteout of the parent", tar_of({{.name = "a/.wh..", .data = ""}}), "whiteout of nothing",
       "invalid_argument"},
      {"whiteout of dot dot", tar_of({{.name = "a/.wh...", .data = ""}}), "whiteout of nothing",
       "invalid_argument"},
      {"name too long", tar_of({{.name = "x", .data = "", .pax = pax_record("path", std::string(300, 'n'))}}),
       "File name too long", ""},
      {"bad checksum", tar_of({{.name = "f", .data = "x", .bad_checksum = true}}), "corrupt layer",
       "corrupt"},
      {"huge size",
       tar_of({{.name = "f", .size_field = std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)}}),
       "", ""},
      {"negative size", tar_of({{.name = "f", .size_field = std::string(12, '\xff')}}), "", ""},
      {"sparse giant",
       tar_of({{.name = "GNUSparseFile.0/h",
                .data = "0\n" + std::string(510, '\0'),
                .pax = pax_record("GNU.sparse.major", "1") + pax_record("GNU.sparse.minor", "0") +
                       pax_record("GNU.sparse.name", "h") +
                       pax_record("GNU.sparse.realsize", "9223372036854775807")}}),
       "", ""},
      {"truncated tar", good.substr(0, 50000), "corrupt layer", "corrupt"},
      {"truncated gzip", gzip(good).substr(0, 60), "ends early", "corrupt"},
      {"truncated zstd", zstd(good).substr(0, 20), "ends early", "corrupt"},
      {"zstd window of 256 MB", zstd_window(good, 28), "a zstd window of more than 128 MiB", "unsupported"},
      {"gzip with garbage behind", gzip(good) + "garbage", "bad gzip data", "corrupt"},
      {"not a tar", std::string(4096, 'Z'), "corrupt layer", "corrupt"},
      {"file in place of a full directory",
       tar_of({{.name = "d/f", .data = "x"}, {.name = "d", .data = "y"}}),
       "replaces a directory that is not empty", "invalid_argument"},
      {"name through a file", tar_of({{.name = "f", .data = "x"}, {.name = "f/x", .data = "y"}}),
       "not a directory", "invalid_argument"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    TempDir dir;
    const std::string target = dir.path + "/a/b";
    REQUIRE(make_directories(target, 0755).has_value());
    const Outcome o = run_unpack(row.bytes, target);
    CAPTURE(o.text);
    CHECK_FALSE(o.ok());
    CHECK_EQ(o.status, 1);
    CHECK(o.message().find(row.says) != std::string::npos);
    if (*row.code != 0) CHECK_EQ(o.code(), row.code);
    CHECK_NE(access((dir.path + "/limpet-escaped").c_str(), F_OK), 0);
    CHECK_NE(access((dir.path + "/a/limpet-escaped").c_str(), F_OK), 0);
    CHECK_NE(access("/tmp/limpet-escaped", F_OK), 0);
    CHECK_NE(access("/etc/limpet-escaped", F_OK), 0);
  }
}

TEST_CASE("bombs are cut off") {
  NEEDS_ROOT();
  const std::string zeros = tar_of({{.name = "zeros", .data = std::string(100 << 20, '\0')}});
  struct Row {
    const char* what;
    std::string bytes;
    std::vector<std::string> options;
    const char* says;
  };
  std::string many;
  for (int i = 0; i < 200; ++i) many += tar_block({.name = "f" + std::to_string(i)});
  const Row rows[] = {
      {"bytes", gzip(zeros), {"--max-bytes=10000000"}, "larger than a layer may be"},
      {"ratio", zstd(zeros), {"--max-ratio=500"}, "more than 500 times its size"},
      {"entries", many, {"--max-entries=100"}, "more than 100 entries"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    TempDir dir;
    const Outcome o = run_unpack(row.bytes, dir.path, "layer", row.options);
    CAPTURE(o.text);
    CHECK_FALSE(o.ok());
    CHECK(o.message().find(row.says) != std::string::npos);
    CHECK_EQ(o.code(), "too_large");
  }
}

TEST_CASE("absolute names are below the root of the layer, as Docker has them") {
  NEEDS_ROOT();
  TempDir dir;
  const Outcome o =
      run_unpack(tar_of({{.name = "/", .type = '5', .mode = 0755},
                         {.name = "/nix/store/limpet-absolute", .data = "x"},
                         {.name = "//nix/link", .type = '1', .link = "/nix/store/limpet-absolute"},
                         {.name = "/nix/.wh.gone"}}),
                 dir.path);
  REQUIRE_MESSAGE(o.ok(), o.text);
  CHECK_EQ(text_of(dir.path + "/nix/store/limpet-absolute"), "x");
  CHECK_EQ(stat_of(dir.path + "/nix/link").st_ino, stat_of(dir.path + "/nix/store/limpet-absolute").st_ino);
  CHECK(S_ISCHR(stat_of(dir.path + "/nix/gone").st_mode));
  CHECK_NE(access("/nix/store/limpet-absolute", F_OK), 0);
}

// The design gives daemon and children 32 MB while 50 MB of zstd are pulled. zstd's levels up to 19 have
// windows of at most 8 MiB.
TEST_CASE("the memory of the child is the window and little more") {
  NEEDS_ROOT();
  std::string data(50 << 20, '\0');
  uint64_t x = 88172645463325252ull;
  for (char& c : data) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  const std::string tar = tar_of({{.name = "data", .data = std::move(data)}});
  for (const int window_mb : {1, 8, 128}) {
    CAPTURE(window_mb);
    TempDir dir;
    const std::string layer = zstd_window(tar, window_mb == 1 ? 20 : window_mb == 8 ? 23 : 27, 1);
    // Of address space, most of which is the text of libraries.
    const auto memory = [&](int mb) {
      return std::vector<std::string>{"--memory=" + std::to_string(mb << 20)};
    };
    const Outcome enough = run_unpack(layer, dir.path, "layer", memory(window_mb + 20));
    CHECK_MESSAGE(enough.ok(), enough.text);
  }
}

TEST_CASE("an archive gives plain files of ours") {
  NEEDS_ROOT();
  TempDir dir;
  const Outcome o =
      run_unpack(tar_of({{.name = "blobs/", .type = '5', .mode = 0777, .uid = 1000},
                         {.name = "blobs/.wh.x", .data = "not a whiteout here", .mode = 04777, .uid = 1000}}),
                 dir.path, "archive");
  REQUIRE_MESSAGE(o.ok(), o.text);
  CHECK_EQ(stat_of(dir.path + "/blobs").st_mode & 07777, 0700u);
  CHECK_EQ(stat_of(dir.path + "/blobs/.wh.x").st_mode & 07777, 0600u);
  CHECK_EQ(stat_of(dir.path + "/blobs/.wh.x").st_uid, 0u);
  TempDir other;
  CHECK_FALSE(run_unpack(tar_of({{.name = "p", .type = '6'}}), other.path, "archive").ok());
}

TEST_CASE("wrong arguments are a usage error") {
  NEEDS_ROOT();
  TempDir dir;
  CHECK_EQ(run_unpack("", dir.path, "other").status, 2);
  CHECK_EQ(run_unpack("", dir.path, "layer", {"--max-bytes=0"}).status, 2);
  CHECK_EQ(run_unpack("", dir.path, "layer", {"--unknown"}).status, 2);
}
