#include "video.h"

extern "C" {
#include <libavutil/display.h>
}

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "bytes.h"
#include "ffmpeg.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

constexpr double kUsualRate = 25;

/// The display matrix of a stream, from its container; nullptr if there is none.
const std::int32_t* display_matrix(const AVStream& stream) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 30, 100)
  const AVPacketSideData* data = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data == nullptr ? nullptr : reinterpret_cast<const std::int32_t*>(data->data);
#else
  return reinterpret_cast<const std::int32_t*>(av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr));
#endif
}

/// EXIF orientation for a counterclockwise rotation in degrees, rounded to a quarter turn.
int orientation_of(const std::int32_t* matrix) {
  if (matrix == nullptr) return 1;
  const double degrees = av_display_rotation_get(matrix);
  constexpr std::array<int, 4> kOrientations{1, 8, 3, 6};
  return std::isnan(degrees) ? 1 : kOrientations[static_cast<std::size_t>(std::lround(degrees / 90) + 4) % 4];
}

std::string first_bytes(const std::string& path) {
  std::string bytes(1024, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

/// The EBML element size (RFC 8794, 4) at `position`, which moves behind it; nullopt if it is "unknown" or invalid.
std::optional<std::uint64_t> ebml_size(const std::string& bytes, std::size_t& position) {
  const std::uint64_t first = position < bytes.size() ? number_at(bytes, position, 1, true) : 0;
  unsigned size = 1;
  while (size < 9 && (first & (0x100U >> size)) == 0) ++size;
  if (size == 9 || position + size > bytes.size()) return std::nullopt;
  const std::uint64_t largest = (std::uint64_t{1} << (7 * size)) - 1;
  const std::uint64_t value = number_at(bytes, position, size, true) & largest;
  position += size;
  return value == largest ? std::nullopt : std::optional(value);
}

/// The file size in the header of a Matroska or WebM file (RFC 9559); 0 for a live recording, which has none, and for
/// other formats.
std::uint64_t announced_bytes(const std::string& start) {
  const std::string ebml = "\x1a\x45\xdf\xa3";
  const std::string segment = "\x18\x53\x80\x67";
  if (!starts_with(start, ebml)) return 0;
  std::size_t position = ebml.size();
  const std::uint64_t header = ebml_size(start, position).value_or(0);
  if (position + header > start.size() || start.compare(position + header, segment.size(), segment) != 0) return 0;
  position += header + segment.size();
  const std::optional<std::uint64_t> size = ebml_size(start, position);
  return size ? position + *size : 0;
}

}  // namespace

struct Video::Decoder {
  explicit Decoder(std::string video_name) : name(std::move(video_name)) {}
  ~Decoder() {
    sws_freeContext(scaler);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&codec);
    avformat_close_input(&format);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void open() {
    av_log_set_level(AV_LOG_FATAL);  // our own errors report faults, with the file's name
    std::error_code problem;
    if (std::filesystem::file_size(name, problem) == 0) throw Error(name + ": is empty (0 bytes); copy it again");
    // Only files: a playlist in a file must not make this program open network connections.
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    const int opened = avformat_open_input(&format, ("file:" + name).c_str(), nullptr, &options);
    av_dict_free(&options);
    require(opened);
    require(avformat_find_stream_info(format, nullptr));
    for (unsigned index = 0; stream == nullptr && index < format->nb_streams; ++index) {
      if (format->streams[index]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO) stream = format->streams[index];
    }
    if (stream == nullptr) throw Error(name + ": contains no video stream");
    const AVCodec* kind = avcodec_find_decoder(stream->codecpar->codec_id);
    if (kind == nullptr) require(AVERROR_DECODER_NOT_FOUND);
    codec = avcodec_alloc_context3(kind);
    require(avcodec_parameters_to_context(codec, stream->codecpar));
    codec->max_pixels = max_pixels();
    codec->thread_count = 1;  // the network uses the processors
    require(avcodec_open2(codec, kind, nullptr));
    packet = av_packet_alloc();
    frame = av_frame_alloc();
  }

  /// Whether `frame` is the next one; false at the end. Error: a damaged part.
  bool receive() {
    while (true) {
      const int received = avcodec_receive_frame(codec, frame);
      if (received == 0) return true;
      if (received == AVERROR_EOF) break;
      if (received != AVERROR(EAGAIN)) fail(received);
      send();
    }
    const std::string why = std::exchange(broken_off, "");
    if (!why.empty()) throw Error(name + ": " + why);
    return false;
  }

  Image image() {
    const auto kind = static_cast<AVPixelFormat>(frame->format);
    scaler = sws_getCachedContext(scaler, frame->width, frame->height, kind, frame->width, frame->height,
                                  AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr);
    if (scaler == nullptr) throw Error(name + ": its pixel format cannot be converted to RGB");
    set_colors();
    Image image = roomy_image(frame->width, frame->height);
    std::array<std::uint8_t*, 4> target{image.pixels.data()};
    std::array<int, 4> stride{image.width * 3};
    sws_scale(scaler, frame->data, frame->linesize, 0, frame->height, target.data(), stride.data());
    image.pixels.resize(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
    return turn_upright(std::move(image), orientation());
  }

  /// Seconds since the first frame. Some files repeat or omit timestamps; a written video needs increasing ones.
  double next_seconds() {
    double told = seconds;
    if (frame->pts != AV_NOPTS_VALUE) {
      if (start == AV_NOPTS_VALUE) start = frame->pts;
      told = static_cast<double>(frame->pts - start) * av_q2d(stream->time_base);
    }
    seconds = told > seconds ? told : std::max(seconds, 0.0) + 1 / rate();
    return seconds;
  }

  [[nodiscard]] double rate() const {
    for (const AVRational told : {stream->avg_frame_rate, av_guess_frame_rate(format, stream, nullptr)}) {
      if (told.num > 0 && told.den > 0) return av_q2d(told);
    }
    return kUsualRate;
  }

  std::string name;
  AVFormatContext* format = nullptr;
  AVStream* stream = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = nullptr;
  AVFrame* frame = nullptr;
  SwsContext* scaler = nullptr;
  std::string broken_off;  // why the video ended early, until it is reported
  std::int64_t start = AV_NOPTS_VALUE;
  double seconds = -1;

 private:
  void require(int status) const {
    if (status < 0) {
      throw Error(name + ": cannot be opened as a video: " + explain(status) +
                  "; expected a video file; does ffplay or VLC open it?");
    }
  }

  [[noreturn]] void fail(int status) const { throw Error(name + ": damaged video: " + explain(status)); }

  /// The next packet of the images into the decoder, or the end of the stream.
  void send() {
    while (true) {
      const int read = av_read_frame(format, packet);
      if (read < 0) {
        if (read != AVERROR_EOF) {
          broken_off = "video ends early: " + explain(read);
        } else if (ends_early()) {
          broken_off = "truncated video: the file is shorter than its header says";
        }
        avcodec_send_packet(codec, nullptr);
        return;
      }
      const int sent = packet->stream_index == stream->index ? avcodec_send_packet(codec, packet) : AVERROR(EAGAIN);
      av_packet_unref(packet);
      if (sent == 0) return;
      if (sent != AVERROR(EAGAIN)) fail(sent);
    }
  }

  /// Whether the last frame in the file's index, or the size in its header, lies beyond its end.
  [[nodiscard]] bool ends_early() const {
    std::error_code problem;
    const std::uintmax_t there = std::filesystem::file_size(name, problem);
    if (!problem && announced_bytes(first_bytes(name)) > there) return true;
    const int count = avformat_index_get_entries_count(stream);
    const AVIndexEntry* last = count == 0 ? nullptr : avformat_index_get_entry(stream, count - 1);
    const std::int64_t size = avio_size(format->pb);  // negative if unknown
    return last != nullptr && size > 0 && last->pos + last->size > size;
  }

  /// The video's own colour matrix and range; swscale's default is BT.601 for all.
  void set_colors() {
    const int* matrix = sws_getCoefficients(frame->colorspace);
    const int* unused = sws_getCoefficients(SWS_CS_DEFAULT);
    sws_setColorspaceDetails(scaler, matrix, static_cast<int>(frame->color_range == AVCOL_RANGE_JPEG), unused, 1, 0,
                             1 << 16, 1 << 16);
  }

  [[nodiscard]] int orientation() const {
    const AVFrameSideData* own = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    return orientation_of(own == nullptr ? display_matrix(*stream) : reinterpret_cast<std::int32_t*>(own->data));
  }
};

Video::Video(const std::filesystem::path& path) : decoder_(std::make_unique<Decoder>(path.string())) {
  decoder_->open();
}

Video::~Video() = default;

double Video::rate() const {
  return decoder_->rate();
}

std::optional<VideoFrame> Video::next() {
  if (!decoder_->receive()) return std::nullopt;
  return VideoFrame{decoder_->image(), decoder_->next_seconds()};
}

}  // namespace lookonce
