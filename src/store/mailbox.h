// The one hand-over between threads in the code base: a list that any thread pushes to and one thread takes
// from.
//
// Lock-free (a stack that the consumer takes whole and reverses), with a semaphore to sleep on. Unbounded by
// itself: the sender bounds what it has under way. A message's destructor runs on the consumer's thread.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "base/assert.h"

namespace limpet::store {

template <class Message>
class Mailbox {
 public:
  Mailbox() { LIMPET_ASSERT(sem_init(&items_, 0, 0) == 0); }
  ~Mailbox() {
    free_list(ready_);
    free_list(incoming_.exchange(nullptr));
    sem_destroy(&items_);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void push(Message message) {
    Node* node = new Node{std::move(message), incoming_.load(std::memory_order_relaxed)};
    while (!incoming_.compare_exchange_weak(node->next, node, std::memory_order_release,
                                            std::memory_order_relaxed)) {
    }
    sem_post(&items_);
  }

  // Waits for the next message, in the order of the pushes of each sender.
  Message take() {
    while (sem_wait(&items_) != 0) LIMPET_ASSERT(errno == EINTR);
    if (!ready_) {
      for (Node* n = incoming_.exchange(nullptr, std::memory_order_acquire); n;) {
        Node* next = n->next;
        n->next = ready_;
        ready_ = n;
        n = next;
      }
    }
    LIMPET_ASSERT(ready_ != nullptr);
    Node* first = ready_;
    ready_ = first->next;
    Message out = std::move(first->message);
    delete first;
    return out;
  }

 private:
  struct Node {
    Message message;
    Node* next;
  };
  static void free_list(Node* n) {
    while (n) delete std::exchange(n, n->next);
  }

  std::atomic<Node*> incoming_{nullptr};
  Node* ready_ = nullptr;  // the consumer's alone
  sem_t items_;
};

}  // namespace limpet::store
