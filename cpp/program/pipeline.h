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

/// Milliseconds that one picture took at each station.
struct Stages {
  double read = 0, decode = 0, prepare = 0, infer = 0, select = 0, draw = 0;
};

/// All that one picture gave.
struct Outcome {
  PictureResult result;
  std::filesystem::path place;
  std::string drawing;           // a picture file's bytes; empty when it was not asked for
  Picture film_frame;            // the drawing of a frame, where options.film; empty likewise
  double frame_rate = 0;         // of the video it is a frame of
  std::vector<std::string> raw;  // float32 (1, rows, columns, anchors, 5 + classes) of each head, likewise
  Stages milliseconds;
};

struct PipelineOptions {
  int workers = 1;
  int batch = 1;
  int warmup = 0;
  bool draw = true;
  bool film = false;  // drawings of frames are handed out as they are, not as picture files
  bool raw = false;
  DetectorOptions detector;
};

/// JPEG and PNG keep the picture's own name; other kinds get .jpg behind it. Of a video, its name with .mp4.
std::filesystem::path drawing_place(const std::filesystem::path& place);

/// Every picture of the sources through the network; `consume` gets them in order, in the calling thread.
///
/// One thread reads files, `workers` threads decode, detect and draw, the calling thread writes: all at once. A picture
/// that cannot be read comes out with its error. However many there are, at most a few a worker are in memory.
/// Returns the seconds that it took, without the warm-up.
double run_pipeline(Backend& backend, const std::vector<Source>& sources, const PipelineOptions& options,
                    const std::function<void(const Outcome&)>& consume);

/// Pictures a second that the network alone does for all workers, on grey canvases.
double model_only_rate(Backend& backend, const PipelineOptions& options, double seconds);

}  // namespace lookonce
