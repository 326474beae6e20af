#pragma once

// The few lines of a test library that these tests need.

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace lookonce::tests {

struct Test {
  const char* name;
  std::function<void()> body;
};

std::vector<Test>& all_tests();

struct Registered {
  Registered(const char* name, std::function<void()> body) { all_tests().push_back({name, std::move(body)}); }
};

template <typename A, typename B>
void require_equal(const A& seen, const B& expected, const char* what, int line) {
  if (seen == expected) return;
  std::ostringstream text;
  text << "line " << line << ": " << what << " is " << seen << ", expected " << expected;
  throw std::runtime_error(text.str());
}

inline void require_near(double seen, double expected, double tolerance, const char* what, int line) {
  if (seen >= expected - tolerance && seen <= expected + tolerance) return;
  std::ostringstream text;
  text << "line " << line << ": " << what << " is " << seen << ", expected " << expected << " +- " << tolerance;
  throw std::runtime_error(text.str());
}

/// The message of the Error that `work` throws; fails when it throws none.
std::string error_of(const std::function<void()>& work);

void require_contains(const std::string& text, const std::string& part, int line);

}  // namespace lookonce::tests

#define TEST(name)                                                         \
  static void name();                                                      \
  static const lookonce::tests::Registered registered_##name(#name, name); \
  static void name()
#define EQUAL(seen, expected) lookonce::tests::require_equal(seen, expected, #seen, __LINE__)
#define NEAR(seen, expected, tolerance) lookonce::tests::require_near(seen, expected, tolerance, #seen, __LINE__)
#define CONTAINS(text, part) lookonce::tests::require_contains(text, part, __LINE__)
