#include "film.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "ffmpeg.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

namespace fs = std::filesystem;

/// Preferred first: H.264 plays everywhere; an FFmpeg built without x264 has the others.
constexpr std::array<const char*, 3> kEncoders{"libx264", "libopenh264", "mpeg4"};
constexpr int kMpeg4Quantizer = 3;
constexpr AVRational kWrittenTimeBase{1, 60'000};  // at 25, 30 and 30000/1001 frames/s a frame lasts whole ticks

const AVCodec* find_encoder() {
  for (const char* name : kEncoders) {
    if (const AVCodec* found = avcodec_find_encoder_by_name(name)) return found;
  }
  return nullptr;
}

/// yuv420p stores one colour for 2 x 2 pixels, so the last row or column of an odd size is repeated.
Image with_even_sides(const Image& image) {
  Image even = roomy_image(image.width + image.width % 2, image.height + image.height % 2);
  for (int y = 0; y < even.height; ++y) {
    const std::uint8_t* source = image.row(std::min(y, image.height - 1));
    std::uint8_t* end = std::copy_n(source, image.width * 3, even.row(y));
    if (even.width > image.width) std::copy_n(end - 3, 3, end);
  }
  return even;
}

}  // namespace

struct Film::Encoder {
  explicit Encoder(fs::path film)
      : path(std::move(film)), temporary(path.parent_path() / ("." + path.filename().string() + ".new")) {}
  ~Encoder() {
    sws_freeContext(scaler);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&codec);
    if (format != nullptr) avio_closep(&format->pb);
    avformat_free_context(format);
    std::error_code ignored;
    fs::remove(temporary, ignored);  // renamed already, or incomplete
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void open(int width, int height, double rate) {
    std::error_code problem;
    fs::create_directories(path.parent_path(), problem);
    require(avformat_alloc_output_context2(&format, nullptr, "mp4", nullptr));
    open_codec(width, height, rate);
    AVStream* stream = avformat_new_stream(format, nullptr);
    require(avcodec_parameters_from_context(stream->codecpar, codec));
    stream->time_base = codec->time_base;
    stream->avg_frame_rate = codec->framerate;
    require(avio_open(&format->pb, ("file:" + temporary.string()).c_str(), AVIO_FLAG_WRITE));
    require(avformat_write_header(format, nullptr));
    packet = av_packet_alloc();
    frame = av_frame_alloc();
    frame->format = codec->pix_fmt;
    frame->width = width;
    frame->height = height;
    require(av_frame_get_buffer(frame, 0));
  }

  void add(const Image& drawn, double seconds) {
    const Image image = with_even_sides(drawn);
    require(av_frame_make_writable(frame));
    scaler = sws_getCachedContext(scaler, image.width, image.height, AV_PIX_FMT_RGB24, frame->width, frame->height,
                                  AV_PIX_FMT_YUV420P, SWS_AREA, nullptr, nullptr, nullptr);
    const std::array<const std::uint8_t*, 4> source{image.pixels.data()};
    const std::array<int, 4> stride{image.width * 3};
    sws_scale(scaler, source.data(), stride.data(), 0, image.height, frame->data, frame->linesize);
    last_tick = std::max<std::int64_t>(std::llround(seconds * kWrittenTimeBase.den), last_tick + 1);
    frame->pts = last_tick;
    encode(frame);
  }

  void finish() {
    encode(nullptr);
    require(av_write_trailer(format));
    require(avio_closep(&format->pb));
    std::error_code problem;
    fs::rename(temporary, path, problem);
    if (problem) throw Error(path.string() + ": cannot be written: " + problem.message());
  }

 private:
  void require(int status) const {
    if (status < 0) throw Error(path.string() + ": cannot be written: " + explain(status));
  }

  void open_codec(int width, int height, double rate) {
    const AVCodec* kind = find_encoder();
    if (kind == nullptr) require(AVERROR_ENCODER_NOT_FOUND);
    codec = avcodec_alloc_context3(kind);
    codec->width = width;
    codec->height = height;
    codec->pix_fmt = AV_PIX_FMT_YUV420P;
    codec->time_base = kWrittenTimeBase;
    codec->framerate = av_d2q(rate, 1001);
    codec->thread_count = 2;  // the other processors run the network
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (kind->id == AV_CODEC_ID_MPEG4) {
      codec->flags |= AV_CODEC_FLAG_QSCALE;
      codec->global_quality = kMpeg4Quantizer * FF_QP2LAMBDA;
    }
    AVDictionary* options = nullptr;
    av_dict_parse_string(&options, "crf=22:preset=veryfast", "=", ":", 0);  // x264's; others ignore them
    const int opened = avcodec_open2(codec, kind, &options);
    av_dict_free(&options);
    require(opened);
  }

  /// nullptr: flushes the encoder.
  void encode(const AVFrame* one) {
    require(avcodec_send_frame(codec, one));
    while (avcodec_receive_packet(codec, packet) == 0) {
      av_packet_rescale_ts(packet, codec->time_base, format->streams[0]->time_base);
      require(av_interleaved_write_frame(format, packet));
    }
  }

  fs::path path, temporary;
  AVFormatContext* format = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = nullptr;
  AVFrame* frame = nullptr;
  SwsContext* scaler = nullptr;
  std::int64_t last_tick = -1;
};

Film::Film(const fs::path& path, const Image& first, double rate) : encoder_(std::make_unique<Encoder>(path)) {
  encoder_->open(first.width + first.width % 2, first.height + first.height % 2, rate);
}

Film::~Film() = default;

void Film::add(const Image& image, double seconds) {
  encoder_->add(image, seconds);
}

void Film::finish() {
  encoder_->finish();
}

bool Film::possible() {
  return find_encoder() != nullptr;
}

}  // namespace lookonce
