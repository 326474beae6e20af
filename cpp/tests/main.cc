#include <cstdio>
#include <exception>

#include "check.h"
#include "lookonce/errors.h"

namespace lookonce::tests {

std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  throw std::runtime_error("expected an Error, but there was none");
}

void require_contains(const std::string& text, const std::string& part, int line) {
  if (text.find(part) != std::string::npos) return;
  throw std::runtime_error("line " + std::to_string(line) + ": '" + text + "' does not hold '" + part + "'");
}

}  // namespace lookonce::tests

int main() {
  int failed = 0;
  for (const auto& test : lookonce::tests::all_tests()) {
    try {
      test.body();
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED %s: %s\n", test.name, error.what());
    }
  }
  const int total = static_cast<int>(lookonce::tests::all_tests().size());
  std::printf("%d passed, %d failed\n", total - failed, failed);
  return failed == 0 ? 0 : 1;
}
