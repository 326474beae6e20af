#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "exit_codes.h"
#include "film.h"
#include "lookonce/errors.h"
#include "options.h"
#include "pipeline.h"
#include "results.h"
#include "sources.h"

namespace {

namespace fs = std::filesystem;
using namespace lookonce;

/// `wanted`, but not more than there are batches of images to work on.
int with_work(int wanted, const Options& options, const std::vector<Source>& sources) {
  if (has_video(sources)) return wanted;
  const auto batch = static_cast<std::size_t>(options.batch);
  const std::size_t batches = (sources.size() + batch - 1) / batch;
  return static_cast<int>(std::min(batches, static_cast<std::size_t>(wanted)));
}

/// One per lane. If the backend queues calls, one more prepares the next image while all lanes are busy (throughput
/// +1.7 % on two processors; -1.7 % without a queue). Not with --timing, which would count the waiting as inference.
int choose_workers(const Backend& backend, const Options& options, const std::vector<Source>& sources) {
  const int spare = backend.queues_calls() && !options.timing ? 1 : 0;
  return with_work(options.backend.lanes + spare, options, sources);
}

fs::path make_output(const Options& options) {
  if (options.output.empty()) return make_run_folder("runs", "infer");
  std::error_code problem;
  fs::create_directories(options.output, problem);
  if (problem) throw Error("--output: cannot create " + options.output.string() + " (" + problem.message() + ")");
  return options.output;
}

/// Error: an annotated copy would overwrite its original.
void require_untouched(const std::vector<Source>& sources, const fs::path& folder) {
  std::error_code problem;
  for (const Source& source : sources) {
    if (fs::equivalent(folder / drawing_place(source.place), source.path, problem)) {
      throw Error("output " + folder.string() + ": the annotated copy would replace the original " + source.name +
                  "; choose another folder");
    }
  }
}

/// For --timing: the time of each stage, summed over all images.
class Times {
 public:
  void add(const Stages& stages) {
    ++count_;
    sum_.read += stages.read;
    sum_.decode += stages.decode;
    sum_.prepare += stages.prepare;
    sum_.infer += stages.infer;
    sum_.select += stages.select;
    sum_.draw += stages.draw;
  }

  [[nodiscard]] double infer() const { return sum_.infer / std::max(1, count_); }

  /// The line of time_Result/test_perform_static.txt, in the format of the document.
  [[nodiscard]] std::string document_line() const {
    char line[128];
    std::snprintf(line, sizeof(line), "NN inference cost average time: %.3f ms of infer_count %d\n", infer(), count_);
    return line;
  }

  void print() const {
    const double images = std::max(1, count_);
    std::printf("ms per image: read %.2f, decode %.2f, prepare %.2f, infer %.2f, select %.2f, draw %.2f\n",
                sum_.read / images, sum_.decode / images, sum_.prepare / images, sum_.infer / images,
                sum_.select / images, sum_.draw / images);
  }

 private:
  int count_ = 0;
  Stages sum_;
};

void write_raw(const Outcome& outcome, const fs::path& folder) {
  fs::path place = folder / "result_Files" / outcome.place;
  place.replace_extension();
  for (std::size_t head = 0; head < outcome.raw.size(); ++head) {
    write_whole(place.string() + "_" + std::to_string(head) + ".bin", outcome.raw[head]);
  }
}

/// Writes one .mp4 of annotated frames for each video.
class Films {
 public:
  explicit Films(fs::path folder) : folder_(std::move(folder)) {}

  void add(const Outcome& outcome) {
    const fs::path place = outcome.place.parent_path();
    if (!film_ || place != place_) {
      finish();
      place_ = place;
      film_.emplace((folder_ / place).string() + ".mp4", outcome.film_frame, outcome.frame_rate);
    }
    film_->add(outcome.film_frame, outcome.result.seconds);
  }

  void finish() {
    if (film_) film_->finish();
    film_.reset();
  }

 private:
  fs::path folder_, place_;
  std::optional<Film> film_;
};

struct Totals {
  long images = 0, detections = 0, failed = 0;
  Times times;
};

Totals run(Backend& backend, const std::vector<Source>& sources, const PipelineOptions& pipeline,
           const Options& options, const fs::path& folder) {
  ResultFiles files(folder, backend.record());
  Films films(folder);
  Totals totals;
  const double seconds = run_pipeline(backend, sources, pipeline, [&](const Outcome& outcome) {
    files.add(outcome.result);
    if (!outcome.result.error.empty()) {
      std::cerr << "lookonce-infer: " << outcome.result.error << "\n";
      ++totals.failed;
      return;
    }
    ++totals.images;
    totals.detections += static_cast<long>(outcome.result.detections.size());
    totals.times.add(outcome.milliseconds);
    if (!outcome.film_frame.pixels.empty()) films.add(outcome);
    if (!outcome.drawing.empty()) write_whole(folder / drawing_place(outcome.place), outcome.drawing);
    if (!outcome.raw.empty()) write_raw(outcome, folder);
  });
  files.finish();
  films.finish();
  if (totals.images > 0 || totals.failed == 0) {
    std::printf("%ld image%s, %ld detection%s, %.1f images/s\n", totals.images, totals.images == 1 ? "" : "s",
                totals.detections, totals.detections == 1 ? "" : "s", static_cast<double>(totals.images) / seconds);
  }
  if (options.timing) {
    totals.times.print();
    write_whole(folder / "time_Result" / "test_perform_static.txt", totals.times.document_line());
  }
  return totals;
}

int infer(Options options) {
  std::vector<Source> sources = find_sources(options.sources);
  if (!options.annotations.empty()) sources = as_annotated(std::move(sources), options.annotations);
  options.backend.lanes = with_work(options.backend.threads, options, sources);
  const std::unique_ptr<Backend> backend = open_backend(options.model, options.backend);
  if (backend->group() > 0) options.batch = backend->group();
  const fs::path folder = make_output(options);
  if (options.images) require_untouched(sources, folder);
  if (options.images && has_video(sources) && !Film::possible()) {
    std::cerr << "lookonce-infer: FFmpeg has no H.264 or MPEG-4 encoder; annotated frames are saved as images\n";
  }
  const PipelineOptions pipeline{choose_workers(*backend, options, sources),
                                 options.batch,
                                 options.warmup,
                                 options.images,
                                 Film::possible(),
                                 options.raw,
                                 options.detector};
  if (options.model_only_seconds > 0) {
    std::printf("network only: %.1f images/s\n",
                model_only_rate(*backend, pipeline, options.model_only_seconds));
  }
  const Totals totals = run(*backend, sources, pipeline, options, folder);
  if (totals.failed > 0) std::printf("failed: %ld; see the messages above\n", totals.failed);
  std::printf("written: %s: %sdetections.jsonl, results.json\n", folder.string().c_str(),
              options.images && totals.images > 0 ? "annotated images, " : "");
  return totals.failed > 0 ? kFailed : kSucceeded;
}

}  // namespace

int main(int argc, char** argv) {
  int status = kWrongUse;
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    for (const std::string& argument : arguments) {
      if (argument == "--help" || argument == "-h") return std::cout << usage(), kSucceeded;
      if (argument == "--version") return std::cout << "lookonce-infer " LOOKONCE_VERSION "\n", kSucceeded;
    }
    const Options options = parse_options(arguments);
    status = kFailed;
    return infer(options);
  } catch (const OptionError& error) {
    std::cerr << "lookonce-infer: " << error.what() << "\n";
    return kWrongUse;
  } catch (const std::exception& error) {
    std::cerr << "lookonce-infer: " << error.what() << "\n";
    return status;
  }
}
