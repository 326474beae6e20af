#include <atomic>
#include <thread>

#include "check.h"
#include "in_flight.h"

using namespace lookonce;

namespace {

using Flight = InFlight<int, int>;

void double_all(Flight& flight) {
  for (auto tasks = flight.work(1); !tasks.empty(); tasks = flight.work(1)) {
    // Odd ones take longer, so that they are overtaken.
    if (tasks[0].task % 2 == 1) std::this_thread::sleep_for(std::chrono::microseconds(200));
    flight.finish(tasks[0].number, tasks[0].task * 2);
  }
}

}  // namespace

TEST(outcomes_come_in_the_order_of_the_tasks_and_few_are_under_way) {
  Flight flight(4);
  std::atomic<int> brought{0};
  std::thread reader([&] {
    for (int task = 0; task < 200; ++task, ++brought) flight.bring(task);
    flight.no_more();
  });
  std::thread first([&] { double_all(flight); });
  std::thread second([&] { double_all(flight); });
  int expected = 0;
  bool in_order = true;
  int most_under_way = 0;
  while (const auto outcome = flight.take()) {
    in_order = in_order && *outcome == expected * 2;
    ++expected;
    most_under_way = std::max(most_under_way, brought - expected);
  }
  reader.join();
  first.join();
  second.join();
  EQUAL(in_order, true);
  EQUAL(expected, 200);
  EQUAL(most_under_way <= 4, true);
}

TEST(batches_are_full_but_for_the_last) {
  Flight flight(8);
  for (int task = 0; task < 5; ++task) flight.bring(task);
  flight.no_more();
  EQUAL(flight.work(3).size(), 3U);
  EQUAL(flight.work(3).size(), 2U);
  EQUAL(flight.work(3).size(), 0U);
}

TEST(who_gives_up_ends_everybodys_work) {
  Flight flight(1);
  flight.bring(1);
  std::thread blocked([&] { EQUAL(flight.bring(2), false); });
  flight.give_up(std::make_exception_ptr(std::runtime_error("no memory")));
  blocked.join();
  EQUAL(flight.work(1).size(), 0U);
  std::string reason;
  try {
    flight.take();
  } catch (const std::runtime_error& error) {
    reason = error.what();
  }
  EQUAL(reason, "no memory");
}
