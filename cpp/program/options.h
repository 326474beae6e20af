#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lookonce/backend.h"
#include "lookonce/detector.h"

namespace lookonce {

/// The parsed command line.
struct Options {
  std::filesystem::path model;
  std::vector<std::string> sources;
  std::filesystem::path output;       // empty: runs/infer-1, runs/infer-2 and so on
  std::filesystem::path annotations;  // empty: none
  BackendOptions backend;
  DetectorOptions detector;
  int batch = 1;
  int warmup = 0;
  double model_only_seconds = 0;
  bool timing = false;
  bool raw = false;
  bool images = true;
};

/// The text of --help.
std::string usage();

/// Error: an unknown option (with the nearest known one), a missing value, a value out of range.
Options parse_options(const std::vector<std::string>& arguments);

}  // namespace lookonce
