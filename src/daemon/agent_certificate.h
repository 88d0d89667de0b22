// An agent's certificate and the authorities that it trusts, kept up by asking a server (cluster/renewal.h):
// when two thirds of the certificate's life are over, when the server that holds this agent says that it
// trusts others, when it is asked for; and as long as one authority takes the place of another, so that the
// leader knows how far this device is.
//
//   look() ─ something is wanted ─▶ asking ─ answer ─▶ installing (Device::take_issued) ─▶ look()
//                                     └ none, or refused ─▶ waits, longer each time ─▶ asking
//
// What comes is in use at once, for connections to come. Owned by the servers' part, which outlives what it
// asks. Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "daemon/part.h"
#include "http/message.h"
#include "loop/loop.h"

namespace limpet::daemon {

class AgentCertificate {
 public:
  // shut_out: why no server is believed, or takes this device's certificate; "" when one answered since.
  AgentCertificate(Device& device, std::function<std::string()> shut_out);
  ~AgentCertificate();
  AgentCertificate(const AgentCertificate&) = delete;

  // The device's identity may be another, or due to be renewed.
  void look();
  // A server trusts these (hashes of keys, the one that signs first).
  void told(const std::vector<std::string>& authorities);
  // No server lets this device in: into the log, with what to do.
  void shut_out() const;

  // POST /limpet/v1/cluster/certificates: another certificate now. Answers when it is there, or after 12 s.
  void renew(http::ExchangePtr exchange);
  // {"device", "certificate": {"notAfter", "daysLeft", "renewAt", "issuer"}, "authorities": [names, the one
  // that signs first], "problem"}
  void status(const http::ExchangePtr& exchange) const;
  // Why this device is out or may soon be, and what to do; "" when all is well.
  std::string problem() const;

  static constexpr int64_t first_retry_ms = 5'000, longest_retry_ms = 600'000;
  // How often the leader is told, in case it is another one.
  static constexpr int64_t report_ms = 60'000, report_metered_ms = 600'000;
  static constexpr int64_t in_vain_ms =
      3600'000;  // until a certificate that is due when it comes is replaced
  static constexpr int64_t answer_within_ms = 12'000;  // to who asked; the limpet command waits for 15 s

 private:
  // What the device goes by.
  struct Standing {
    std::vector<std::string> trusted;  // hashes; the first signs
    std::string issuer;                // hash of the one that issued its certificate
    bool operator==(const Standing&) const = default;
  };
  bool renewal_is_wanted() const;
  bool word_is_wanted() const;
  void go_on();
  void ask(bool certificate);
  Result<std::string> request(bool certificate);
  void answered(Result<client::Reply> reply);
  Result<> take(const client::Reply& reply);
  void installed(const Result<>& done);
  void succeeded();
  void failed(const Error& error);
  void wait(int64_t ms);
  void respond(const Result<>& end);
  std::string out() const;

  Device& device_;
  std::function<std::string()> is_shut_out_;
  Standing standing_;
  std::vector<std::string> names_;  // of the authorities
  std::string issuer_name_;
  int64_t not_after_ = 0;
  bool due_ = false;
  std::optional<std::vector<std::string>> told_;  // others than ours, and not asked about yet
  std::optional<Standing> reported_;
  std::unique_ptr<client::Pending> asking_;
  bool for_certificate_ = false;  // asking_, and what it leads to
  bool installing_ = false;
  bool held_ = false;  // the timer says when to go on
  int64_t report_ms_;
  int64_t retry_ms_ = 0;
  int64_t not_due_before_ms_ = 0;
  std::string failure_;                              // of the last attempt
  std::vector<http::ExchangePtr> wanted_, waiting_;  // by people: for the next attempt, for this one
  loop::Timer timer_, limit_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon
