#include "http/spdy_headers.h"

#include <algorithm>

#include "base/assert.h"

namespace limpet::http {
namespace {

// The dictionary is these words, each behind its length, and then the tail.
constexpr std::string_view dictionary_words[] = {"options",
                                                 "head",
                                                 "post",
                                                 "put",
                                                 "delete",
                                                 "trace",
                                                 "accept",
                                                 "accept-charset",
                                                 "accept-encoding",
                                                 "accept-language",
                                                 "accept-ranges",
                                                 "age",
                                                 "allow",
                                                 "authorization",
                                                 "cache-control",
                                                 "connection",
                                                 "content-base",
                                                 "content-encoding",
                                                 "content-language",
                                                 "content-length",
                                                 "content-location",
                                                 "content-md5",
                                                 "content-range",
                                                 "content-type",
                                                 "date",
                                                 "etag",
                                                 "expect",
                                                 "expires",
                                                 "from",
                                                 "host",
                                                 "if-match",
                                                 "if-modified-since",
                                                 "if-none-match",
                                                 "if-range",
                                                 "if-unmodified-since",
                                                 "last-modified",
                                                 "location",
                                                 "max-forwards",
                                                 "pragma",
                                                 "proxy-authenticate",
                                                 "proxy-authorization",
                                                 "range",
                                                 "referer",
                                                 "retry-after",
                                                 "server",
                                                 "te",
                                                 "trailer",
                                                 "transfer-encoding",
                                                 "upgrade",
                                                 "user-agent",
                                                 "vary",
                                                 "via",
                                                 "warning",
                                                 "www-authenticate",
                                                 "method",
                                                 "get",
                                                 "status",
                                                 "200 OK",
                                                 "version",
                                                 "HTTP/1.1",
                                                 "url",
                                                 "public",
                                                 "set-cookie",
                                                 "keep-alive",
                                                 "origin"};
constexpr std::string_view dictionary_tail =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

void append_length(std::string* out, size_t n) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(n >> shift));
}

void append_counted(std::string* out, std::string_view text) {
  append_length(out, text.size());
  out->append(text);
}

// A number of four bytes off the front; false when there are fewer.
bool take_number(std::string_view& in, uint32_t* n) {
  if (in.size() < 4) return false;
  *n = 0;
  for (int i = 0; i < 4; ++i) *n = *n << 8 | static_cast<unsigned char>(in[static_cast<size_t>(i)]);
  in.remove_prefix(4);
  return true;
}

bool take_counted(std::string_view& in, std::string_view* text) {
  uint32_t n = 0;
  if (!take_number(in, &n) || n > in.size()) return false;
  *text = in.substr(0, n);
  in.remove_prefix(n);
  return true;
}

bool valid_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](char c) { return c > ' ' && c < 0x7f && !(c >= 'A' && c <= 'Z'); });
}

Result<Headers> parse_block(std::string_view in) {
  Headers out;
  uint32_t count = 0;
  if (!take_number(in, &count)) return fail(Errc::invalid_argument, "a header block without a count");
  if (count > max_spdy_headers) return fail(Errc::too_large, "too many headers");
  for (uint32_t i = 0; i < count; ++i) {
    std::string_view name, value;
    if (!take_counted(in, &name) || !take_counted(in, &value)) {
      return fail(Errc::invalid_argument, "a header block that ends too early");
    }
    if (!valid_name(name)) return fail(Errc::invalid_argument, "a malformed header name");
    if (out.has(name)) return fail(Errc::invalid_argument, "a header that is there twice");
    if (std::count(value.begin(), value.end(), '\0') > static_cast<ptrdiff_t>(max_spdy_headers)) {
      return fail(Errc::too_large, "a header of too many values");
    }
    for (size_t end = 0; end != std::string_view::npos;) {
      end = value.find('\0');
      out.add(std::string(name), std::string(value.substr(0, end)));
      if (end != std::string_view::npos) value.remove_prefix(end + 1);
    }
  }
  if (!in.empty()) return fail(Errc::invalid_argument, "bytes behind the last header");
  return out;
}

const Bytef* bytes_of(std::string_view s) { return reinterpret_cast<const Bytef*>(s.data()); }

}  // namespace

const std::string& spdy_dictionary() {
  static const std::string dictionary = [] {
    std::string out;
    for (std::string_view word : dictionary_words) append_counted(&out, word);
    return out.append(dictionary_tail);
  }();
  return dictionary;
}

SpdyHeaderReader::~SpdyHeaderReader() {
  if (begun_) inflateEnd(&stream_);
}

Result<Headers> SpdyHeaderReader::read(std::string_view block) {
  TRY(const std::string text, inflate_block(block));
  return parse_block(text);
}

Result<std::string> SpdyHeaderReader::inflate_block(std::string_view block) {
  if (!begun_ && inflateInit(&stream_) != Z_OK)
    return fail(Errc::exhausted, "no memory for header compression");
  begun_ = true;
  stream_.next_in = const_cast<Bytef*>(bytes_of(block));  // zlib's signature, it does not write there
  stream_.avail_in = static_cast<uInt>(block.size());
  std::string out;
  char piece[1024];
  do {
    stream_.next_out = reinterpret_cast<Bytef*>(piece);
    stream_.avail_out = sizeof piece;
    int status = inflate(&stream_, Z_SYNC_FLUSH);
    if (status == Z_NEED_DICT) {
      const std::string& d = spdy_dictionary();
      status = inflateSetDictionary(&stream_, bytes_of(d), static_cast<uInt>(d.size()));
      if (status == Z_OK) continue;
    }
    // Z_BUF_ERROR is no error but the end of the input. The stream itself goes on as long as the connection.
    if (status != Z_OK && status != Z_BUF_ERROR)
      return fail(Errc::corrupt, "a header block that zlib cannot read");
    out.append(piece, sizeof piece - stream_.avail_out);
    if (out.size() > max_spdy_header_block) return fail(Errc::too_large, "a header block that is too large");
  } while (stream_.avail_in > 0 || stream_.avail_out == 0);
  return out;
}

SpdyHeaderWriter::~SpdyHeaderWriter() {
  if (begun_) deflateEnd(&stream_);
}

std::string SpdyHeaderWriter::write(const Headers& headers) {
  // A window just larger than the dictionary: 12 KB instead of 256, and what we send is small.
  if (!begun_) {
    begun_ = true;
    const std::string& d = spdy_dictionary();
    LIMPET_ASSERT(deflateInit2(&stream_, Z_BEST_COMPRESSION, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    LIMPET_ASSERT(deflateSetDictionary(&stream_, bytes_of(d), static_cast<uInt>(d.size())) == Z_OK);
  }
  std::string text;
  append_length(&text, headers.list().size());
  for (const Header& h : headers.list()) {
    append_counted(&text, h.name);
    append_counted(&text, h.value);
  }
  stream_.next_in = reinterpret_cast<Bytef*>(text.data());
  stream_.avail_in = static_cast<uInt>(text.size());
  std::string out;
  char piece[256];
  do {
    stream_.next_out = reinterpret_cast<Bytef*>(piece);
    stream_.avail_out = sizeof piece;
    deflate(&stream_, Z_SYNC_FLUSH);
    out.append(piece, sizeof piece - stream_.avail_out);
  } while (stream_.avail_out == 0);
  return out;
}

}  // namespace limpet::http
