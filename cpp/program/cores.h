#pragma once

#include <filesystem>
#include <string>

namespace lookonce {

/// OMP_NUM_THREADS where it is set, else the physical cores that this process may use, by its affinity and by the quota
/// of its container: src/lookonce/cores.py in C++.
int usable_threads();

/// Processors' worth of time that a control group and those around it may use; infinite without a limit.
///
/// `root`: where control groups are mounted; `group`: "/pod/box". Both versions of them are read.
double cores_of_quota(const std::filesystem::path& root, const std::string& group);

}  // namespace lookonce
