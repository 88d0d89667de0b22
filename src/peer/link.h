// One outgoing raft connection to one member: made, kept, made again. What comes back on it are answers of
// that member (incoming.h). Internal; owned by Peers::Impl.
#pragma once

#include <memory>
#include <string>

#include "peer/attempt.h"
#include "peer/backoff.h"
#include "peer/core.h"

namespace limpet::peer {

class Link {
 public:
  Link(Core& core, MemberId member);
  ~Link();
  Link(const Link&) = delete;

  // Queued, or dropped: while there is no connection and when the queue is full.
  void send(std::string message);
  // There is reason to believe that it can be reached now (it dialled us). `changed`: in another way than the
  // attempt under way knows.
  void nudge(bool changed);
  // It spoke to us as this session: a connection to an earlier one leads nowhere.
  void heard(uint64_t session);
  // Closes and dials anew at once.
  void restart(const std::string& why);
  // What is up and of an authority that is not trusted any more is closed, and dialled anew.
  void distrust();
  void pause(bool paused);  // the reading of answers
  bool empty() const { return queued() == 0; }
  void fill(PeerStats& stats) const;

 private:
  void dial();
  void tried(Outcome outcome);
  void up(Greeted greeted);
  void broke(Error error);
  void close(Error error);
  void wait(int64_t ms);
  void flush();
  uint64_t drained() const;
  void watch_queue();
  void lost();
  void arrived(std::string_view bytes);
  size_t queued() const { return out_.size() + (stream_ ? stream_->write_queue_size() : 0); }
  template <class F>
  void later(bool& asked, F f);

  Core& core_;
  MemberId member_;
  LinkState state_ = LinkState::waiting;
  Backoff backoff_;
  loop::Timer retry_;
  loop::Timer stall_;
  std::unique_ptr<Attempt> attempt_;
  std::unique_ptr<tls::Stream> stream_;
  pki::Certificate certificate_;  // of who is at the other end of it
  FrameReader reader_{Kind::raft};
  bool paused_ = false;
  std::string out_;  // frames of this turn of the loop: they go out together
  uint64_t peer_session_ = 0;
  uint64_t written_ = 0;  // into stream_
  uint64_t drained_ = 0;  // of it given to the kernel, at the last look
  int64_t nudged_ms_ = -1;
  bool flush_asked_ = false;
  bool lost_asked_ = false;
  PeerStats stats_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::peer
