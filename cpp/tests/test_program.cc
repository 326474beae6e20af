// Command line, sources and result files.

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "lookonce/images.h"
#include "options.h"
#include "results.h"
#include "sources.h"
#include "cores.h"

using namespace lookonce;
using namespace lookonce::tests;

namespace {

namespace fs = std::filesystem;

/// An empty folder that goes when the test ends.
class Scratch {
 public:
  Scratch() : path(fs::temp_directory_path() / ("lookonce-" + std::to_string(getpid()))) { fs::create_directory(path); }
  ~Scratch() { fs::remove_all(path); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] std::string file(const std::string& name, const std::string& content = "") const {
    write_whole(path / name, content);
    return (path / name).string();
  }

  const fs::path path;
};

std::string names(const std::vector<Source>& sources) {
  std::string text;
  for (const Source& source : sources) {
    text += source.place.generic_string() + "=" + std::to_string(source.image_id) + " ";
  }
  return text;
}

}  // namespace

TEST(options_are_read_in_every_spelling) {
  const Options options = parse_options({"m.onnx", "--batch=4", "a.jpg", "--max_detections", "7", "--timing", "b.jpg"});
  EQUAL(options.model.string(), "m.onnx");
  EQUAL(options.sources.size(), 2U);
  EQUAL(options.batch, 4);
  EQUAL(*options.detector.max_detections, 7);
  EQUAL(options.detector.multi_label.has_value(), false);
  EQUAL(parse_options({"m", "a", "--no-pictures"}).images, false);  // the earlier name of --no-images
  EQUAL(parse_options({"m", "a", "--no_images"}).images, false);
  EQUAL(*parse_options({"m", "a", "--multi_label=false"}).detector.multi_label, false);
  EQUAL(*parse_options({"m", "a", "--agnostic", "true"}).detector.agnostic, true);
  EQUAL(options.timing, true);
}

TEST(options_that_are_wrong_are_named) {
  CONTAINS(error_of([] { parse_options({"m", "a", "--treshold", "1"}); }), "did you mean --threshold?");
  CONTAINS(error_of([] { parse_options({"--learning-rate", "m", "a"}); }), "'--learning-rate'; see --help");
  CONTAINS(error_of([] { parse_options({"--weights", "m", "a"}); }), "lookonce-infer MODEL SOURCE");
  std::ofstream("-a.jpg").close();
  CONTAINS(error_of([] { parse_options({"m", "-a.jpg"}); }), "write ./-a.jpg");
  fs::remove("-a.jpg");
  CONTAINS(error_of([] { parse_options({"m", "a", "--threshold", "1.5"}); }), "--threshold is '1.5'; expected a number");
  CONTAINS(error_of([] { parse_options({"m", "a", "--threads", "two"}); }), "--threads is 'two'");
  CONTAINS(error_of([] { parse_options({"m", "a", "--batch"}); }), "--batch needs a value");
  CONTAINS(error_of([] { parse_options({"m", "a", "--multi-label", "no"}); }), "--multi-label is 'no'; expected true");
  CONTAINS(error_of([] { parse_options({"m", "a", "--raw=1"}); }), "--raw takes no value");
  CONTAINS(error_of([] { parse_options({"m"}); }), "expected a model and at least one");
}

TEST(a_folder_gives_its_images_by_name_with_those_of_its_subfolders) {
  const Scratch scratch;
  for (const char* name : {"b.JPG", "a/ü.png", "notes.txt", ".hidden.jpg"}) static_cast<void>(scratch.file(name));
  EQUAL(names(find_sources({scratch.path.string()})), "a/ü.png=1 b.JPG=2 ");
}

TEST(numbers_as_names_are_the_ids) {
  const Scratch scratch;
  EQUAL(names(find_sources({scratch.file("000139.jpg"), scratch.file("7.jpg")})), "000139.jpg=139 7.jpg=7 ");
  EQUAL(names(find_sources({scratch.file("7.jpg"), scratch.file("x.jpg")})), "7.jpg=1 x.jpg=2 ");
}

TEST(a_list_is_read_from_its_own_folder_and_equal_names_are_told_apart) {
  const Scratch scratch;
  static_cast<void>(scratch.file("one/a.jpg"));
  static_cast<void>(scratch.file("two/A.jpg"));
  const std::string list = scratch.file("list.txt", "\xef\xbb\xbfone/a.jpg\r\n\n two/A.jpg \n");
  EQUAL(names(find_sources({list})), "1-a.jpg=1 2-A.jpg=2 ");
  EQUAL(names(find_sources({scratch.file("clip.avi"), scratch.file("clip.mkv")})), "1-clip.avi=1 2-clip.mkv=2 ");
  CONTAINS(error_of([&] { find_sources({scratch.file("empty.txt", "\n")}); }), "is empty");
  CONTAINS(error_of([&] { find_sources({(scratch.path / "no").string()}); }), "no such file or folder");
}

TEST(annotations_choose_the_images_and_their_ids) {
  const Scratch scratch;
  static_cast<void>(scratch.file("a.jpg"));
  static_cast<void>(scratch.file("b.jpg"));
  const auto sources = find_sources({scratch.path.string()});
  const std::string file = scratch.file("all.json", R"({"images":[{"id":77,"file_name":"b.jpg"}]})");
  EQUAL(names(as_annotated(sources, file)), "b.jpg=77 ");
  const std::string other = scratch.file("other.json", R"({"images":[{"id":1,"file_name":"c.jpg"}]})");
  CONTAINS(error_of([&] { as_annotated(sources, other); }), "c.jpg, which is not among");
  CONTAINS(error_of([&] { as_annotated(sources, scratch.file("list.json", "[]")); }), "COCO annotation file");
}

TEST(results_are_json_and_appear_when_they_are_complete) {
  const Scratch scratch;
  Record record;
  record.class_names = {"a \"b\""};
  record.category_ids = {9};
  {
    ResultFiles files(scratch.path, record);
    files.add({"x.jpg", 5, 20, 10, {{{1, 2, 4.5F, 8}, 0.5F, 0}}, ""});
    files.add({"bad\n.jpg", 6, 0, 0, {}, "damaged"});
    EQUAL(fs::exists(scratch.path / "results.json"), false);
    files.finish();
  }
  EQUAL(read_file(scratch.path / "results.json"),
        "[\n{\"image_id\": 5, \"category_id\": 9, \"bbox\": [1, 2, 3.5, 6], \"score\": 0.5}\n]\n");
  EQUAL(read_file(scratch.path / "detections.jsonl"),
        "{\"file\": \"x.jpg\", \"image_id\": 5, \"width\": 20, \"height\": 10, \"detections\": [{\"class\": \"a "
        "\\\"b\\\"\", "
        "\"label\": 0, \"score\": 0.5, \"box_xyxy\": [1, 2, 4.5, 8]}]}\n{\"file\": \"bad\\n.jpg\", \"error\": "
        "\"damaged\"}\n");
}

TEST(an_unfinished_result_leaves_nothing_behind) {
  const Scratch scratch;
  Record record;
  { const ResultFiles files(scratch.path, record); }
  EQUAL(fs::is_empty(scratch.path), true);
}

TEST(run_folders_count_up) {
  const Scratch scratch;
  EQUAL(make_run_folder(scratch.path / "runs", "infer").filename().string(), "infer-1");
  EQUAL(make_run_folder(scratch.path / "runs", "infer").filename().string(), "infer-2");
}

TEST(the_narrowest_quota_around_a_container_holds) {
  const Scratch scratch;
  static_cast<void>(scratch.file("pod/box/cpu.max", "max 100000\n"));
  EQUAL(std::isinf(cores_of_quota(scratch.path, "/pod/box")), true);
  static_cast<void>(scratch.file("pod/cpu.max", "150000 100000\n"));
  static_cast<void>(scratch.file("cpu.max", "400000 100000\n"));
  EQUAL(cores_of_quota(scratch.path, "/pod/box"), 1.5);
  EQUAL(cores_of_quota(scratch.path, ""), 4.0);
}

TEST(quotas_of_the_older_control_groups_are_read_too) {
  const Scratch scratch;
  static_cast<void>(scratch.file("cpu/cpu.cfs_period_us", "100000\n"));
  static_cast<void>(scratch.file("cpu/cpu.cfs_quota_us", "-1\n"));
  EQUAL(std::isinf(cores_of_quota(scratch.path, "")), true);
  static_cast<void>(scratch.file("cpu/cpu.cfs_quota_us", "200000\n"));
  EQUAL(cores_of_quota(scratch.path, ""), 2.0);
}

TEST(there_is_always_a_thread) {
  EQUAL(usable_threads() >= 1, true);
}
