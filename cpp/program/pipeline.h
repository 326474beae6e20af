#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lookonce/backend.h"
#include "lookonce/detector.h"
#include "results.h"
#include "sources.h"

namespace lookonce {

/// Milliseconds of one image in each stage.
struct Stages {
  double read = 0, decode = 0, prepare = 0, infer = 0, select = 0, draw = 0;
};

/// All results of one image.
struct Outcome {
  ImageResult result;
  std::filesystem::path place;
  std::string drawing;           // bytes of the annotated image file; empty if not requested
  Image film_frame;            // the annotated frame, with options.film; else empty
  double frame_rate = 0;         // of the video it is a frame of
  std::vector<std::string> raw;  // float32 (1, rows, columns, anchors, 5 + classes) of each head, if requested
  Stages milliseconds;
};

struct PipelineOptions {
  int workers = 1;
  int batch = 1;
  int warmup = 0;
  bool draw = true;
  bool film = false;  // annotated frames are returned as pixels, not as image files
  bool raw = false;
  DetectorOptions detector;
};

/// Path of the annotated copy: JPEG and PNG keep their name, other images get .jpg appended, videos the suffix .mp4.
std::filesystem::path drawing_place(const std::filesystem::path& place);

/// Runs every image of the sources through the network; `consume` gets the outcomes in order, in the calling thread.
///
/// One thread reads files, `workers` threads decode, detect and draw, and the calling thread writes, all in parallel.
/// The outcome of an unreadable image holds its error. At most a few images per worker are in memory.
/// Returns the elapsed seconds without the warm-up.
double run_pipeline(Backend& backend, const std::vector<Source>& sources, const PipelineOptions& options,
                    const std::function<void(const Outcome&)>& consume);

/// Throughput of the network alone, images per second over all workers, on grey input.
double model_only_rate(Backend& backend, const PipelineOptions& options, double seconds);

}  // namespace lookonce
