// limpet-bench-load: many clients at once against one HTTPS API, each with one connection that it keeps.
//
//   limpet-bench-load --connect HOST:PORT --ca FILE --cert FILE --key FILE --clients N --seconds S
//                     (--get PATH | --create COLLECTION --bytes N [--total N])
//
// --get asks for PATH over and over; --create makes ConfigMaps of so many bytes under names that nobody else
// has, for so many seconds or until there are so many. Prints
// {"requests":N,"errors":N,"seconds":S,"p50_ms":X,"p99_ms":X}. A thread for each client, blocking, straight
// on mbedTLS: it must cost less than what it measures.
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& what) {
  fprintf(stderr, "limpet-bench-load: %s\n", what.c_str());
  exit(1);
}

struct Options {
  std::string host, port, ca, cert, key, get, create;
  int clients = 1;
  double seconds = 5;
  size_t bytes = 100;
  long total = -1;
};

Options parse(int argc, char** argv) {
  Options o;
  std::map<std::string, std::string> given;
  for (int i = 1; i + 1 < argc; i += 2) given[argv[i]] = argv[i + 1];
  const std::string connect = given["--connect"];
  const size_t colon = connect.rfind(':');
  if (colon == std::string::npos || argc % 2 == 0) die("usage: see the head of tests/bench/load.cc");
  o.host = connect.substr(0, colon);
  o.port = connect.substr(colon + 1);
  o.ca = given["--ca"];
  o.cert = given["--cert"];
  o.key = given["--key"];
  o.get = given["--get"];
  o.create = given["--create"];
  o.clients = std::max(1, atoi(given["--clients"].c_str()));
  if (given.contains("--seconds")) o.seconds = atof(given["--seconds"].c_str());
  if (given.contains("--bytes")) o.bytes = strtoul(given["--bytes"].c_str(), nullptr, 10);
  if (given.contains("--total")) o.total = atol(given["--total"].c_str());
  return o;
}

// What all clients share, read only once it is made.
struct Trust {
  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;  // for the key only; each client has its own
  mbedtls_x509_crt ca, cert;
  mbedtls_pk_context key;

  explicit Trust(const Options& o) {
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&ca);
    mbedtls_x509_crt_init(&cert);
    mbedtls_pk_init(&key);
    if (mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0) != 0) die("no entropy");
    if (mbedtls_x509_crt_parse_file(&ca, o.ca.c_str()) != 0) die("cannot read " + o.ca);
    if (mbedtls_x509_crt_parse_file(&cert, o.cert.c_str()) != 0) die("cannot read " + o.cert);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    const int read = mbedtls_pk_parse_keyfile(&key, o.key.c_str(), nullptr, mbedtls_ctr_drbg_random, &random);
#else
    const int read = mbedtls_pk_parse_keyfile(&key, o.key.c_str(), nullptr);
#endif
    if (read != 0) die("cannot read " + o.key);
  }
};

class Client {
 public:
  Client(const Options& options, Trust& trust, int number, std::atomic<long>& left)
      : options_(options), number_(number), left_(left) {
    mbedtls_net_init(&net_);
    mbedtls_ssl_init(&ssl_);
    mbedtls_ssl_config_init(&config_);
    mbedtls_entropy_init(&entropy_);
    mbedtls_ctr_drbg_init(&random_);
    if (mbedtls_ctr_drbg_seed(&random_, mbedtls_entropy_func, &entropy_, nullptr, 0) != 0) die("no entropy");
    if (mbedtls_net_connect(&net_, options.host.c_str(), options.port.c_str(), MBEDTLS_NET_PROTO_TCP) != 0)
      die("cannot connect to " + options.host + ":" + options.port);
    const int on = 1;
    setsockopt(net_.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    mbedtls_ssl_config_defaults(&config_, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_ca_chain(&config_, &trust.ca, nullptr);
    mbedtls_ssl_conf_authmode(&config_, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_rng(&config_, mbedtls_ctr_drbg_random, &random_);
    if (mbedtls_ssl_conf_own_cert(&config_, &trust.cert, &trust.key) != 0)
      die("the certificate is not taken");
    if (mbedtls_ssl_setup(&ssl_, &config_) != 0) die("out of memory");
    // The certificate has it, and mbedTLS 2.28 cannot compare addresses.
    mbedtls_ssl_set_hostname(&ssl_, "localhost");
    mbedtls_ssl_set_bio(&ssl_, &net_, mbedtls_net_send, mbedtls_net_recv, nullptr);
    int status = 0;
    while ((status = mbedtls_ssl_handshake(&ssl_)) == MBEDTLS_ERR_SSL_WANT_READ) {
    }
    if (status != 0) die("the handshake failed: mbedTLS error " + std::to_string(status));
  }
  Client(const Client&) = delete;

  void run(Clock::time_point end) {
    const std::string padding(options_.bytes, 'x');
    const std::string get = "GET " + options_.get + " HTTP/1.1\r\nHost: bench\r\n\r\n";
    while (Clock::now() < end && left_.fetch_sub(1) > 0) {
      const auto start = Clock::now();
      const int status = options_.create.empty() ? ask(get) : ask(creation(padding));
      times_ms.push_back(std::chrono::duration<float, std::milli>(Clock::now() - start).count());
      ++requests;
      if (status / 100 != 2 && errors++ == 0)
        fprintf(stderr, "limpet-bench-load: status %d: %.300s\n", status, body_.c_str());
    }
  }

  long requests = 0, errors = 0;
  std::vector<float> times_ms;

 private:
  std::string creation(const std::string& padding) {
    const std::string body = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bench-)" +
                             std::to_string(getpid()) + "-" + std::to_string(number_) + "-" +
                             std::to_string(requests) + R"("},"data":{"v":")" + padding + R"("}})";
    return "POST " + options_.create +
           " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  // The status; the body of an answer is read and kept until the next.
  int ask(const std::string& request) {
    for (size_t sent = 0; sent < request.size();) {
      const int n = mbedtls_ssl_write(&ssl_, reinterpret_cast<const unsigned char*>(request.data()) + sent,
                                      request.size() - sent);
      if (n == MBEDTLS_ERR_SSL_WANT_WRITE) continue;
      if (n <= 0) die("the connection broke while writing");
      sent += static_cast<size_t>(n);
    }
    size_t head = std::string::npos;
    while ((head = buffer_.find("\r\n\r\n")) == std::string::npos) more();
    const int status = atoi(buffer_.c_str() + 9);
    size_t length = 0;
    const size_t at = buffer_.find("Content-Length: ");
    if (at != std::string::npos && at < head) {
      length = strtoul(buffer_.c_str() + at + 16, nullptr, 10);
    } else {
      die("an answer without Content-Length: " + buffer_.substr(0, head));
    }
    while (buffer_.size() < head + 4 + length) more();
    body_ = buffer_.substr(head + 4, length);
    buffer_.erase(0, head + 4 + length);
    return status;
  }

  void more() {
    unsigned char bytes[16 * 1024];
    int n = 0;
    do n = mbedtls_ssl_read(&ssl_, bytes, sizeof bytes);
    while (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
           || n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
#endif
    );
    if (n <= 0) die("the connection broke while reading: " + std::to_string(n));
    buffer_.append(reinterpret_cast<char*>(bytes), static_cast<size_t>(n));
  }

  const Options& options_;
  const int number_;
  std::atomic<long>& left_;
  mbedtls_net_context net_;
  mbedtls_ssl_context ssl_;
  mbedtls_ssl_config config_;
  mbedtls_entropy_context entropy_;
  mbedtls_ctr_drbg_context random_;
  std::string buffer_, body_;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  Trust trust(options);
  std::atomic<long> left(options.total >= 0 ? options.total : 1L << 60);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < options.clients; ++i)
    clients.push_back(std::make_unique<Client>(options, trust, i, left));
  const auto start = Clock::now();
  const auto end = start + std::chrono::microseconds(static_cast<long>(options.seconds * 1e6));
  std::vector<std::thread> threads;
  for (const auto& client : clients) threads.emplace_back([&client, end] { client->run(end); });
  for (std::thread& t : threads) t.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  long requests = 0, errors = 0;
  std::vector<float> times;
  for (const auto& client : clients) {
    requests += client->requests;
    errors += client->errors;
    times.insert(times.end(), client->times_ms.begin(), client->times_ms.end());
  }
  std::sort(times.begin(), times.end());
  const auto at = [&](double part) {
    return times.empty() ? 0.0f : times[static_cast<size_t>(part * static_cast<double>(times.size() - 1))];
  };
  printf("{\"requests\":%ld,\"errors\":%ld,\"seconds\":%.3f,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n", requests,
         errors, seconds, static_cast<double>(at(0.5)), static_cast<double>(at(0.99)));
  // The connections end with the process: a thousand farewells would only be measured by somebody else.
  fflush(stdout);
  _exit(errors > 0 ? 1 : 0);
}
