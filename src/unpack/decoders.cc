// gzip by zlib, zstd by libzstd, behind one interface. Several members or frames in a row are one stream, as
// gzip -d and zstd -d have it; bytes that are neither are an error.
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cstring>

#include "unpack/input.h"

namespace limpet::unpack {
namespace {

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder() { memset(&z_, 0, sizeof z_); }
  ~GzipDecoder() override {
    if (open_) inflateEnd(&z_);
  }
  bool init() {
    open_ = inflateInit2(&z_, 15 + 16) == Z_OK;
    return open_;
  }

  Result<size_t> decode(std::string_view& in, char* out, size_t size) override {
    if (ended_ && !in.empty()) {
      inflateReset(&z_);
      ended_ = false;
    }
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    z_.avail_in = static_cast<uInt>(in.size());
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = static_cast<uInt>(size);
    const int status = inflate(&z_, Z_NO_FLUSH);
    in.remove_prefix(in.size() - z_.avail_in);
    if (status == Z_STREAM_END) {
      ended_ = true;
    } else if (status == Z_MEM_ERROR) {
      return fail(Errc::exhausted, "out of memory while unpacking gzip");
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      return fail(Errc::corrupt, strf("bad gzip data: %s", z_.msg != nullptr ? z_.msg : "unknown"));
    }
    return size - z_.avail_out;
  }
  bool at_end() const override { return ended_; }

 private:
  z_stream z_;
  bool open_ = false;
  bool ended_ = false;
};

class ZstdDecoder final : public Decoder {
 public:
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }
  bool init(int max_window_log) {
    max_window_log_ = max_window_log;
    stream_ = ZSTD_createDStream();
    return stream_ != nullptr &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, max_window_log));
  }

  Result<size_t> decode(std::string_view& in, char* out, size_t size) override {
    ZSTD_inBuffer source{in.data(), in.size(), 0};
    ZSTD_outBuffer target{out, size, 0};
    const size_t status = ZSTD_decompressStream(stream_, &target, &source);
    if (ZSTD_isError(status)) {
      if (ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge) {
        return fail(Errc::unsupported,
                    strf("the layer is compressed with a zstd window of more than %llu MiB; build the image "
                         "again without --long or with a lower level",
                         1ull << (max_window_log_ - 20)));
      }
      if (ZSTD_getErrorCode(status) == ZSTD_error_memory_allocation)
        return fail(Errc::exhausted, "out of memory while unpacking zstd");
      return fail(Errc::corrupt, strf("bad zstd data: %s", ZSTD_getErrorName(status)));
    }
    if (source.pos > 0 || target.pos > 0) between_frames_ = status == 0;
    in.remove_prefix(source.pos);
    return target.pos;
  }
  bool at_end() const override { return between_frames_; }

 private:
  ZSTD_DStream* stream_ = nullptr;
  int max_window_log_ = 0;
  bool between_frames_ = true;
};

}  // namespace

Result<std::unique_ptr<Decoder>> make_gzip_decoder() {
  auto decoder = std::make_unique<GzipDecoder>();
  if (!decoder->init()) return fail(Errc::exhausted, "out of memory while unpacking gzip");
  return decoder;
}

Result<std::unique_ptr<Decoder>> make_zstd_decoder(int max_window_log) {
  auto decoder = std::make_unique<ZstdDecoder>();
  if (!decoder->init(max_window_log)) return fail(Errc::exhausted, "out of memory while unpacking zstd");
  return decoder;
}

}  // namespace limpet::unpack
