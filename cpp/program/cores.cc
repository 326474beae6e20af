#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <thread>

namespace lookonce {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

/// quota / period; "max" and -1 mean no limit.
double share(const std::string& quota, const std::string& period) {
  const double time = std::strtod(quota.c_str(), nullptr);
  const double of = std::strtod(period.c_str(), nullptr);
  return time > 0 && of > 0 ? time / of : std::numeric_limits<double>::infinity();
}

/// The path of this process in control groups version 2; "" if there is none.
std::string own_cgroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) == 0) return line.substr(3);
  }
  return "";
}

/// Number of physical cores in the CPU affinity; hyperthreads of a core count once.
int cores_allowed() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  }
  std::set<std::string> cores;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (!CPU_ISSET(processor, &allowed)) continue;
    const std::string name = std::to_string(processor);
    const std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + name + "/topology/thread_siblings_list");  // "0-1"
    cores.insert(siblings.empty() ? name : siblings);
  }
  return static_cast<int>(cores.size());
}

}  // namespace

int usable_threads() {
  if (const char* wanted = std::getenv("OMP_NUM_THREADS")) {
    const long number = std::strtol(wanted, nullptr, 10);
    if (number > 0 && number <= std::numeric_limits<int>::max()) return static_cast<int>(number);
  }
  const double cores = std::min<double>(cores_allowed(), cores_of_quota("/sys/fs/cgroup", own_cgroup()));
  return std::max(1, static_cast<int>(std::ceil(cores)));
}

double cores_of_quota(const fs::path& root, const std::string& group) {
  double cores = share(first_line(root / "cpu" / "cpu.cfs_quota_us"), first_line(root / "cpu" / "cpu.cfs_period_us"));
  fs::path place = root;
  const auto look_here = [&] {
    const std::string line = first_line(place / "cpu.max");  // "150000 100000": 1.5 processors
    cores = std::min(cores, share(line, line.substr(std::min(line.find(' '), line.size()))));
  };
  look_here();
  for (const fs::path& part : fs::path(group).relative_path()) {
    place /= part;
    look_here();
  }
  return cores;
}

}  // namespace lookonce
