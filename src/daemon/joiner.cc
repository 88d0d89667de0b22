#include "daemon/joiner.h"

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/tree.h"
#include "cluster/join.h"
#include "cluster/token.h"
#include "http/client.h"
#include "pki/install.h"
#include "tls/tls.h"

namespace limpet::daemon {
namespace {

constexpr int64_t answer_ms = 30'000;

// To the server that has the authority whose hash the token names, and no other.
class PinnedDialer final : public http::PlainDialer {
 public:
  explicit PinnedDialer(tls::ClientContext& context) : context_(context) {}
  std::unique_ptr<Dial> secure(loop::Loop&, std::unique_ptr<loop::Stream> stream, const http::Origin& origin,
                               Done done) override {
    auto dial = std::make_unique<Securing>();
    dial->handshake = tls::wrap_client(context_, std::move(stream), origin.host,
                                       [done = std::move(done)](Result<std::unique_ptr<tls::Stream>> s) {
                                         if (!s) return done(std::unexpected(s.error()));
                                         done(std::unique_ptr<loop::Stream>(std::move(*s)));
                                       });
    return dial;
  }

 private:
  struct Securing final : Dial {
    std::unique_ptr<tls::Handshake> handshake;
  };
  tls::ClientContext& context_;
};

class JoinerImpl final : public Joiner {
 public:
  JoinerImpl(loop::Loop& loop, Clock& clock, JoinOptions options, Done done)
      : loop_(loop), options_(std::move(options)), done_(std::move(done)), engine_(loop, clock) {}

  void start() {
    if (auto begun = ask(); !begun) {
      loop_.defer([this, here = std::weak_ptr<char>(alive_), error = begun.error()] {
        if (!here.expired()) done_(std::unexpected(error));
      });
    }
  }

 private:
  Result<> ask() {
    TRY(const cluster::Token token, cluster::parse_token(options_.order.token));
    TRY(const http::Url url, http::parse_url(options_.order.url));
    if (!url.origin.tls)
      return fail(Errc::invalid_argument,
                  options_.order.url + ": https:// is wanted, a token is not sent in the clear");
    CHECK_OK(drop_other_cluster(token));
    TRY(key_, pki::joining_key(join_directory(options_.data_dir) + "/pki", random_, former()));
    TRY(const std::string body, request());
    tls::ClientOptions trust;
    trust.ca_pin = token.ca_sha256;
    trust.authority = "the authority of the cluster that the token names";
    TRY(context_, tls::ClientContext::make(engine_, trust));
    dialer_ = std::make_unique<PinnedDialer>(*context_);
    client_ = std::make_unique<http::Client>(loop_, *dialer_);
    http::ClientRequest r;
    r.origin = url.origin;
    r.method = "POST";
    r.target = "/limpet/v1/join";
    r.headers.add("Content-Type", "application/json");
    r.headers.add("Authorization", "Bearer " + options_.order.token);
    r.body = body;
    r.first_byte_timeout_ms = answer_ms;
    call_ = client_->fetch(std::move(r), cluster::max_join_answer,
                           [this](Result<http::Response> answer) { done_(settle(std::move(answer))); });
    return {};
  }

  // An agent that its cluster left behind comes back as who it was, and its pods with it; the servers know it
  // by its key.
  std::string former() const {
    const auto place = read_place(options_.data_dir);
    const bool was_agent = place && *place && (*place)->agent;
    return was_agent && options_.order.agent ? options_.data_dir + "/pki" : "";
  }

  // What an attempt that was cut short left of another cluster.
  Result<> drop_other_cluster(const cluster::Token& token) const {
    const std::string work = join_directory(options_.data_dir);
    CHECK_OK(make_directories(work, 0700));
    const auto pem = read_file(work + "/pki/ca.crt", cluster::max_join_answer);
    if (!pem) return {};
    const auto authority = pki::parse_certificate(*pem);
    if (authority && authority->spki_sha256() == token.ca_sha256) return {};
    return remove_tree(work);
  }

  Result<std::string> request() {
    cluster::JoinRequest r;
    r.name = options_.node_name;
    r.role = options_.order.agent ? cluster::Role::agent : cluster::Role::server;
    r.version = LIMPET_VERSION;
    r.addresses = options_.addresses;
    r.api_port = options_.api_port;
    // Another one at each attempt: a member that never came to be has voted for nobody.
    if (!options_.order.agent) r.member = random_.u64() >> 1 | 1;
    member_ = r.member;
    TRY(r.csr_pem, pki::make_request(key_, {options_.node_name, {}}, {}, random_));
    return encode(r);
  }

  Result<Place> settle(Result<http::Response> answer) {
    if (!answer) return std::unexpected(std::move(answer).error().with("join " + options_.order.url));
    if (answer->status != 200) return refused(*answer);
    TRY(cluster::JoinAnswer joined, cluster::decode_join_answer(answer->body));
    Place place;
    place.cluster = joined.cluster_id;
    place.agent = options_.order.agent;
    place.member = member_;
    for (const cluster::ServerEntry& s : joined.servers) {
      place.servers.push_back({s.member, s.name, s.addresses});
      for (const std::string& address : s.addresses)
        place.api.push_back(strf("%s:%d", address.substr(0, address.rfind(':')).c_str(), s.api_port));
    }
    pki::Joined files;
    files.ca_pem = joined.ca_pem;
    files.device_pem = joined.certificate_pem;
    if (joined.keys) {
      files.ca_key_pem = joined.keys->ca_key_pem;
      files.service_account_key_pem = joined.keys->service_account_key_pem;
    } else if (!place.agent) {
      return fail(Errc::corrupt,
                  options_.order.url + " let this device in as a server without the cluster's keys");
    }
    CHECK_OK(stage_join(options_.data_dir, place, files, random_));
    return place;
  }

  Result<Place> refused(const http::Response& answer) const {
    // 4xx is about this device, and asking again does not help; the rest is the server's trouble.
    const bool later = answer.status >= 500 || answer.status == 429;
    std::string why;
    if (json::validate(answer.body)) why = json::Cursor(answer.body)["message"].str();
    if (why.empty()) why = strf("status %d", answer.status);
    return fail(later ? Errc::unavailable : Errc::permission_denied,
                options_.order.url + " does not let this device in: " + why);
  }

  loop::Loop& loop_;
  JoinOptions options_;
  Done done_;
  SystemRandom random_;
  tls::Engine engine_;
  pki::PrivateKey key_;
  raft::MemberId member_ = 0;
  std::unique_ptr<tls::ClientContext> context_;
  std::unique_ptr<PinnedDialer> dialer_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::Call> call_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace

std::unique_ptr<Joiner> Joiner::start(loop::Loop& loop, Clock& clock, JoinOptions options, Done done) {
  auto joiner = std::make_unique<JoinerImpl>(loop, clock, std::move(options), std::move(done));
  joiner->start();
  return joiner;
}

}  // namespace limpet::daemon
