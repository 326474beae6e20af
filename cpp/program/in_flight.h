#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace lookonce {

/// A bounded queue between one producer of tasks, several workers, and one consumer, which takes the outcomes in the
/// order of the tasks. At most `capacity` tasks are between `bring` and `take`.
template <typename Task, typename Outcome>
class InFlight {
 public:
  explicit InFlight(std::size_t capacity) : capacity_(capacity) {}

  struct Numbered {
    std::size_t number = 0;
    Task task;
  };

  /// Adds a task, waiting for free capacity; false after `give_up`.
  bool bring(Task task) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return failure_ || brought_ - taken_ < capacity_; });
    if (failure_) return false;
    waiting_.push_back({brought_++, std::move(task)});
    tasks_.notify_all();
    return true;
  }

  void no_more() {
    const std::lock_guard lock(mutex_);
    complete_ = true;
    tasks_.notify_all();
    outcomes_.notify_all();
  }

  /// Takes `count` tasks; fewer only when there are no more; none at the end and after `give_up`.
  std::vector<Numbered> work(std::size_t count) {
    std::unique_lock lock(mutex_);
    tasks_.wait(lock, [&] { return failure_ || complete_ || waiting_.size() >= count; });
    std::vector<Numbered> tasks;
    while (!failure_ && tasks.size() < count && !waiting_.empty()) {
      tasks.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    return tasks;
  }

  void finish(std::size_t number, Outcome outcome) {
    const std::lock_guard lock(mutex_);
    finished_.emplace(number, std::move(outcome));
    outcomes_.notify_all();
  }

  /// The next outcome in order; nullopt at the end. Rethrows the exception of `give_up`.
  std::optional<Outcome> take() {
    std::unique_lock lock(mutex_);
    outcomes_.wait(lock, [&] { return failure_ || finished_.count(taken_) != 0 || (complete_ && taken_ == brought_); });
    if (failure_) std::rethrow_exception(failure_);
    const auto next = finished_.find(taken_);
    if (next == finished_.end()) return std::nullopt;
    Outcome outcome = std::move(next->second);
    finished_.erase(next);
    ++taken_;
    room_.notify_all();
    return outcome;
  }

  /// Stops all threads; `take` rethrows the exception of the first call.
  void give_up(std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(why);
    for (auto* waited_for : {&room_, &tasks_, &outcomes_}) waited_for->notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable room_, tasks_, outcomes_;  // three, so that only the threads concerned wake up
  std::deque<Numbered> waiting_;
  std::map<std::size_t, Outcome> finished_;
  std::size_t brought_ = 0, taken_ = 0;
  bool complete_ = false;
  std::exception_ptr failure_;
};

}  // namespace lookonce
