#pragma once

#include <filesystem>
#include <string>

namespace lookonce {

/// OMP_NUM_THREADS if set, else the number of physical cores that CPU affinity and the container's quota allow, as in
/// src/lookonce/cores.py.
int usable_threads();

/// CPU quota of a control group and its parents, in processors; infinite without a limit.
///
/// `root`: where control groups are mounted; `group`: "/pod/box". Versions 1 and 2 are read.
double cores_of_quota(const std::filesystem::path& root, const std::string& group);

}  // namespace lookonce
