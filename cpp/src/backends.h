#pragma once

// One function a runtime; each is built only where its library was found.

#include <filesystem>
#include <memory>

#include "lookonce/backend.h"

namespace lookonce {

std::unique_ptr<Backend> open_openvino(const std::filesystem::path& model, const BackendOptions& options);
std::unique_ptr<Backend> open_onnxruntime(const std::filesystem::path& model, const BackendOptions& options);
std::unique_ptr<Backend> open_ncnn(const std::filesystem::path& model, const BackendOptions& options);

}  // namespace lookonce
