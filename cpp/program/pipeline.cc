#include "pipeline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iostream>
#include <iterator>
#include <optional>
#include <thread>

#include "in_flight.h"
#include "lookonce/draw.h"
#include "lookonce/errors.h"
#include "lookonce/text.h"
#include "video.h"

namespace lookonce {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// An image that was read: a file's bytes, or a frame of a video.
struct Task {
  Outcome outcome;  // filled in so far
  std::string bytes;
  Image image;
};

using Flight = InFlight<Task, Outcome>;

/// Milliseconds since the last call.
class StopWatch {
 public:
  double lap() {
    const Clock::time_point now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
  }

 private:
  Clock::time_point last_ = Clock::now();
};

class Threads {
 public:
  Threads() = default;
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  template <typename Work>
  void start(Work work) {
    threads_.emplace_back(std::move(work));
  }

 private:
  std::vector<std::thread> threads_;
};

Task read_image_file(const Source& source) {
  Task task;
  task.outcome.place = source.place;
  task.outcome.result.name = source.name;
  task.outcome.result.image_id = source.image_id;
  StopWatch watch;
  try {
    task.bytes =
        source.path == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : read_file(source.path);
  } catch (const Error& error) {
    task.outcome.result.error = error.what();
  }
  task.outcome.milliseconds.read = watch.lap();
  return task;
}

/// clip.mp4 -> clip/000012.jpg
fs::path frame_place(fs::path place, int number) {
  std::string digits = std::to_string(number);
  digits.insert(0, 6 - std::min<std::size_t>(6, digits.size()), '0');
  return place.replace_extension() / (digits + ".jpg");
}

Task failed(const std::string& name, const Error& error) {
  Task task;
  task.outcome.result.name = name;
  task.outcome.result.error = error.what();
  return task;
}

/// The next frame, or a task with its error; nullopt after the last.
std::optional<Task> next_frame(Video& video, const Source& source, int number) {
  StopWatch watch;
  try {
    std::optional<VideoFrame> frame = video.next();
    if (!frame && number == 0) {
      const Error empty(source.name + ": contains no frames, only a header; record or copy it again");
      return failed(source.name, empty);
    }
    if (!frame) return std::nullopt;
    Task task;
    task.outcome.place = frame_place(source.place, number);
    task.outcome.result.name = source.name;
    task.outcome.result.frame = number;
    task.outcome.result.seconds = frame->seconds;
    task.outcome.frame_rate = video.rate();
    task.outcome.milliseconds.read = watch.lap();
    task.image = std::move(frame->image);
    return task;
  } catch (const Error& error) {
    return failed(source.name + " frame " + std::to_string(number), error);
  }
}

/// Adds each frame as a task; false after `give_up`.
bool bring_frames(Flight& flight, const Source& source, std::int64_t& next_id) {
  std::optional<Video> video;
  try {
    video.emplace(source.path);
  } catch (const Error& error) {
    ++next_id;
    return flight.bring(failed(source.name, error));
  }
  for (int number = 0; auto task = next_frame(*video, source, number); ++number) {
    task->outcome.result.image_id = next_id++;
    if (!flight.bring(std::move(*task))) return false;
  }
  return true;
}

void bring_all(Flight& flight, const std::vector<Source>& sources) {
  const bool counts_frames = has_video(sources);
  std::int64_t next_id = 1;  // frames are numbered over all sources
  for (const Source& source : sources) {
    if (is_video(source.path)) {
      if (!bring_frames(flight, source, next_id)) return;
      continue;
    }
    Task task = read_image_file(source);
    if (counts_frames) task.outcome.result.image_id = next_id++;
    if (!flight.bring(std::move(task))) return;
  }
  flight.no_more();
}

void append_floats(std::string& bytes, const float* values, std::size_t count) {
  const std::size_t end = bytes.size();
  bytes.resize(end + count * sizeof(float));
  std::memcpy(bytes.data() + end, values, count * sizeof(float));
}

/// (anchors * (5 + classes), rows, columns) -> (1, rows, columns, anchors, 5 + classes), the order of the document.
std::string raw_bytes(const HeadMap& map, int channels) {
  const auto cells = static_cast<std::size_t>(map.rows) * static_cast<std::size_t>(map.columns);
  const auto num_channels = static_cast<std::size_t>(channels);
  std::vector<float> turned(cells * num_channels);
  for (std::size_t channel = 0; channel < num_channels; ++channel) {
    for (std::size_t cell = 0; cell < cells; ++cell) {
      turned[cell * num_channels + channel] = map.values[channel * cells + cell];
    }
  }
  std::string bytes;
  append_floats(bytes, turned.data(), turned.size());
  return bytes;
}

/// The work of one thread: takes tasks from the queue and returns outcomes.
class Worker {
 public:
  Worker(Flight& flight, Backend& backend, const PipelineOptions& options)
      : flight_(flight), options_(options), detector_(backend, options.detector) {}

  void warm_up() {
    const Image grey(detector_.record().width, detector_.record().height);
    for (int run = 0; run < options_.warmup; ++run) detector_.detect(grey);
  }

  void work() {
    while (true) {
      auto tasks = flight_.work(static_cast<std::size_t>(options_.batch));
      if (tasks.empty()) return;
      decode(tasks);
      detect();
      for (std::size_t index = 0; index < numbers_.size(); ++index) {
        flight_.finish(numbers_[index], std::move(outcomes_[index]));
      }
    }
  }

 private:
  /// Readable images stay in images_, outcomes_ and numbers_; the others are finished with their error.
  void decode(std::vector<Flight::Numbered>& tasks) {
    images_.clear();
    outcomes_.clear();
    numbers_.clear();
    for (auto& [number, task] : tasks) {
      ImageResult& result = task.outcome.result;
      StopWatch watch;
      try {
        if (result.error.empty() && task.image.pixels.empty()) task.image = decode_image(task.bytes, result.name);
      } catch (const Error& error) {
        result.error = error.what();
      }
      task.outcome.milliseconds.decode = watch.lap();
      if (!result.error.empty()) {
        flight_.finish(number, std::move(task.outcome));
        continue;
      }
      result.width = task.image.width;
      result.height = task.image.height;
      images_.push_back(std::move(task.image));
      outcomes_.push_back(std::move(task.outcome));
      numbers_.push_back(number);
    }
  }

  void detect() {
    if (images_.empty()) return;
    const auto count = static_cast<double>(images_.size());
    StopWatch watch;
    detector_.prepare({images_.data(), static_cast<int>(images_.size())});
    const double prepare = watch.lap() / count;
    const auto& maps = detector_.infer();
    const double infer = watch.lap() / count;
    std::vector<Detections> found = detector_.select();
    const double select = watch.lap() / count;
    for (std::size_t index = 0; index < images_.size(); ++index) {
      Outcome& outcome = outcomes_[index];
      outcome.result.detections = std::move(found[index]);
      if (options_.raw) keep_raw(outcome, maps[index]);
      watch.lap();
      if (options_.draw) draw_into(outcome, images_[index]);
      const double read = outcome.milliseconds.read;
      outcome.milliseconds = {read, outcome.milliseconds.decode, prepare, infer, select, watch.lap()};
    }
  }

  void keep_raw(Outcome& outcome, const std::vector<HeadMap>& maps) const {
    for (std::size_t head = 0; head < maps.size(); ++head) {
      outcome.raw.push_back(raw_bytes(maps[head], detector_.record().channels(detector_.record().heads[head])));
    }
  }

  void draw_into(Outcome& outcome, Image& image) const {
    draw(image, outcome.result.detections, detector_.record().class_names);
    if (options_.film && outcome.result.frame >= 0) {
      outcome.film_frame = std::move(image);
      return;
    }
    outcome.drawing = encode_image(image, drawing_place(outcome.place).extension().string());
  }

  Flight& flight_;
  const PipelineOptions& options_;
  Detector detector_;
  std::vector<Image> images_;
  std::vector<Outcome> outcomes_;
  std::vector<std::size_t> numbers_;
};

/// An exception in `work` stops all threads.
template <typename Work>
void guarded(Flight& flight, Work work) {
  try {
    work();
  } catch (...) {
    flight.give_up(std::current_exception());
  }
}

}  // namespace

fs::path drawing_place(const fs::path& place) {
  if (is_video(place)) return fs::path(place).replace_extension(".mp4");
  const std::string suffix = lower_case(place.extension().string());
  const bool keeps = suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
  return keeps ? place : fs::path(place.string() + ".jpg");
}

double run_pipeline(Backend& backend, const std::vector<Source>& sources, const PipelineOptions& options,
                    const std::function<void(const Outcome&)>& consume) {
  const auto num_workers = static_cast<std::size_t>(options.workers);
  // Per worker one batch in work, one being read and one being written.
  Flight flight(static_cast<std::size_t>(options.batch) * (num_workers + 2));
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t number = 0; number < num_workers; ++number) {
    workers.push_back(std::make_unique<Worker>(flight, backend, options));
    workers.back()->warm_up();
  }
  StopWatch watch;
  Threads threads;
  threads.start([&] { guarded(flight, [&] { bring_all(flight, sources); }); });
  for (const auto& worker : workers) {
    threads.start([&flight, &worker] { guarded(flight, [&] { worker->work(); }); });
  }
  try {
    while (const auto outcome = flight.take()) consume(*outcome);
  } catch (...) {
    flight.give_up(std::current_exception());
    throw;
  }
  return watch.lap() / 1000;
}

double model_only_rate(Backend& backend, const PipelineOptions& options, double seconds) {
  std::vector<std::unique_ptr<Detector>> detectors;
  const std::vector<Image> grey(static_cast<std::size_t>(options.batch),
                                  Image(backend.record().width, backend.record().height));
  for (int number = 0; number < options.workers; ++number) {
    detectors.push_back(std::make_unique<Detector>(backend));
    detectors.back()->detect({grey.data(), options.batch});
  }
  std::atomic<long> runs{0};
  StopWatch watch;
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  {
    Threads threads;
    for (const auto& detector : detectors) {
      threads.start([&] {
        while (Clock::now() < end) {
          detector->infer();
          ++runs;
        }
      });
    }
  }
  return static_cast<double>(runs) * options.batch / (watch.lap() / 1000);
}

}  // namespace lookonce
